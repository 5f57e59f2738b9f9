"""`moltbot rollout`: see a rollout, and steer it by editing the route's spec, as GitOps would.

Nothing here speaks to the operator: `promote`, `abort` and `retry` are fields, and `undo` applies the spec of
a revision from before.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from moltbot_operator.commands.connect import cluster, namespace_of
from moltbot_operator.errors import InvalidInput, NotFound
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import CONFIG_MAP, MOLTBOT_ROUTE

if TYPE_CHECKING:
    from moltbot_operator.kube.client import KubeCluster

__all__ = ["app"]

app = typer.Typer(help="See a route's rollout, and steer it.", no_args_is_help=True, rich_markup_mode=None)

Route = Annotated[str, typer.Argument(metavar="ROUTE", help="Name of the MoltBotRoute.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Default: the current context's.")]
Revision = Annotated[str | None, typer.Option("--revision", help="Default: the one concerned.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="json", help="For programs.")]

PAUSE: Final = 1.0
"""Seconds between two looks of --watch."""

_COMMANDS: Final = ("promote", "abort", "retry")


@app.command()
def status(
    route: Route,
    namespace: Namespace = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until nothing is under way.")] = False,
    output: Output = None,
) -> None:
    """Show how the rollout stands."""
    _json_only(output)
    asyncio.run(_status(namespace_of(namespace), route, watch=watch, as_json=output == "json"))


@app.command("history")
def show_history(route: Route, namespace: Namespace = None, output: Output = None) -> None:
    """Show the revisions that were stable, and which of them `undo` can bring back."""
    _json_only(output)

    from moltbot_operator.commands.rollout_view import history  # noqa: PLC0415 - commands start faster

    async def show(client: "KubeCluster", manifest: Manifest) -> None:
        kept = await _kept(client, manifest)
        if output == "json":
            revision = (manifest.get("status") or {}).get("revision") or {}
            typer.echo(json.dumps({**revision, "kept": sorted(kept)}, indent=2))
        else:
            Console().print(history(manifest, kept))

    _on(route, namespace, show)


@app.command()
def promote(route: Route, namespace: Namespace = None, revision: Revision = None) -> None:
    """Switch to the revision under way now, without what is left of its tests and analysis."""
    _command("promote", route, namespace, revision)


@app.command()
def abort(route: Route, namespace: Namespace = None, revision: Revision = None) -> None:
    """Give up the revision under way; what served before it serves on."""
    _command("abort", route, namespace, revision)


@app.command()
def retry(route: Route, namespace: Namespace = None, revision: Revision = None) -> None:
    """Try a revision again that was given up."""
    _command("retry", route, namespace, revision)


@app.command()
def undo(
    route: Route,
    namespace: Namespace = None,
    to: Annotated[str | None, typer.Option(metavar="REVISION", help="Default: the one before.")] = None,
) -> None:
    """Apply the spec of an earlier stable revision; at once if that one still runs."""

    async def bring_back(client: "KubeCluster", manifest: Manifest) -> None:
        stable = ((manifest.get("status") or {}).get("revision") or {}).get("stable") or []
        wanted = to or next(iter(stable), None)
        if wanted is None:
            raise InvalidInput(
                f"{_named(manifest)}: no earlier revision was stable: there is nothing to undo"
            )
        kept = await _kept(client, manifest)
        if wanted not in kept:
            known = ", ".join(sorted(kept)) or "none"
            raise InvalidInput(
                f"{_named(manifest)}: the spec of revision {wanted} is not kept (kept: {known}): apply it "
                "from where you keep your manifests"
            )
        spec = dict(kept[wanted])
        rollout = {
            name: value for name, value in (spec.get("rollout") or {}).items() if name not in _COMMANDS
        }
        spec["rollout"] = rollout
        if not rollout:
            del spec["rollout"]
        await client.replace({**manifest, "spec": spec})
        typer.echo(f"{_named(manifest)}: the spec is that of revision {wanted} again")

    _on(route, namespace, bring_back)


def _command(field: str, route: str, namespace: str | None, revision: str | None) -> None:
    async def edit(client: "KubeCluster", manifest: Manifest) -> None:
        named = revision or _concerned(field, manifest)
        present = ((manifest.get("spec") or {}).get("rollout") or {}).get(field)
        place = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        if present == named:  # only a spec that changed is obeyed again
            await client.merge(MOLTBOT_ROUTE, *place, {"spec": {"rollout": {field: None}}})
        patch: dict[str, Any] = {field: named}
        for other in _COMMANDS:
            if other != field and ((manifest["spec"].get("rollout") or {}).get(other)) == named:
                patch[other] = None  # it would contradict
        await client.merge(MOLTBOT_ROUTE, *place, {"spec": {"rollout": patch}})
        typer.echo(f"{_named(manifest)}: spec.rollout.{field} is {named}")

    _on(route, namespace, edit)


def _concerned(field: str, manifest: Mapping[str, Any]) -> str:
    """The revision that a command means where none is given; InvalidInput if there is none."""
    status = manifest.get("status") or {}
    rollout, revision = status.get("rollout") or {}, status.get("revision") or {}
    if field == "retry":
        if failed := rollout.get("failed"):
            return str(failed["revision"])
        raise InvalidInput(f"{_named(manifest)}: no revision was given up: there is nothing to retry")
    under_way = rollout.get("phase") not in {None, "Stable", "Failed"}
    found = rollout.get("revision") if under_way else None
    found = found or revision.get("preview")
    if found is None:
        raise InvalidInput(f"{_named(manifest)}: no rollout is under way: there is nothing to {field}")
    return str(found)


async def _status(namespace: str, route: str, *, watch: bool, as_json: bool) -> None:
    from rich.live import Live  # noqa: PLC0415 - as above

    from moltbot_operator.commands.rollout_view import document, view  # noqa: PLC0415

    console = Console()
    async with cluster() as client:
        manifest = await _get(client, namespace, route)
        if as_json:
            typer.echo(json.dumps(document(manifest), indent=2))
        if not watch:
            if not as_json:
                console.print(view(manifest, datetime.now(UTC)))
            return
        if as_json:
            await _print_changes(client, manifest)
            return
        with Live(view(manifest, datetime.now(UTC)), console=console, auto_refresh=False) as live:
            while _under_way(manifest):
                await asyncio.sleep(PAUSE)
                manifest = await _get(client, namespace, route)
                live.update(view(manifest, datetime.now(UTC)), refresh=True)


async def _print_changes(client: "KubeCluster", manifest: Manifest) -> None:
    """One document whenever something changed."""
    from moltbot_operator.commands.rollout_view import document  # noqa: PLC0415 - as above

    shown = document(manifest)
    while _under_way(manifest):
        await asyncio.sleep(PAUSE)
        manifest = await _get(client, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if document(manifest) != shown:
            shown = document(manifest)
            typer.echo(json.dumps(shown, indent=2))


def _under_way(manifest: Mapping[str, Any]) -> bool:
    status = manifest.get("status") or {}
    seen = status.get("observedGeneration") == manifest["metadata"].get("generation")
    return not seen or (status.get("rollout") or {}).get("phase") not in {"Stable", "Failed"}


def _on(
    route: str, namespace: str | None, do: Callable[["KubeCluster", Manifest], Coroutine[Any, Any, None]]
) -> None:
    async def run() -> None:
        async with cluster() as client:
            await do(client, await _get(client, namespace_of(namespace), route))

    asyncio.run(run())


async def _get(client: "KubeCluster", namespace: str, route: str) -> Manifest:
    name = route.rpartition("/")[2]
    try:
        return await client.get(MOLTBOT_ROUTE, namespace, name)
    except NotFound as error:
        raise InvalidInput(
            f"MoltBotRoute {namespace}/{name} does not exist: look with kubectl get mbr -A"
        ) from error


async def _kept(client: "KubeCluster", manifest: Manifest) -> Mapping[str, dict[str, Any]]:
    from moltbot_operator.reconcile.spec_history import history_name, specs_in  # noqa: PLC0415 - as above

    meta = manifest["metadata"]
    try:
        return specs_in(await client.get(CONFIG_MAP, meta["namespace"], history_name(meta["name"])))
    except NotFound:
        return {}


def _named(manifest: Mapping[str, Any]) -> str:
    return f"MoltBotRoute {manifest['metadata']['namespace']}/{manifest['metadata']['name']}"


def _json_only(output: str | None) -> None:
    if output not in {None, "json"}:
        raise typer.BadParameter(f"{output!r} is not json", param_hint="--output")
