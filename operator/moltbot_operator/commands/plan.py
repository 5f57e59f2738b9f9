"""`moltbot plan`: what would a change of the files change?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from moltbot_operator.commands.given import FileArguments, RouteOption, assumed, manifests
from moltbot_operator.commands.output import Format, Output, print_json

if TYPE_CHECKING:
    from moltbot_operator.serve.files import Manifests

__all__ = ["plan"]

_CHANGES: Final = 3
"""Exit code where something changes and was asked for; 2 is wrong usage."""


def plan(  # noqa: PLR0917 - typer's options
    files: FileArguments,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|FOLDER", help="Files as they are now; without, the cluster of KUBECONFIG."
        ),
    ] = None,
    route: RouteOption = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Namespace of objects that name none; default: default."),
    ] = None,
    detailed: Annotated[
        bool, typer.Option("--detailed-exit-code", help="Exit with 3 where something changes.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Tell what applying the files would change: which requests go elsewhere, which revision results.

    Compared with --against files, or with the cluster, whose objects stay where the files have none of them.
    Exit codes: 0 told, 1 something can't be read, 2 wrong usage; with --detailed-exit-code 0 nothing
    changes, 3 something does.
    """
    from moltbot_operator.compare.document import text  # noqa: PLC0415 - the other commands start faster
    from moltbot_operator.errors import InvalidInput  # noqa: PLC0415

    given = after = manifests(files, namespace)
    active: dict[str, str] = {}
    if against:
        before = manifests(against, namespace)
    else:
        from moltbot_operator.commands.cluster import live  # noqa: PLC0415

        before, active = live(after)
        after = _applied(before, after)
    names = [str(ref) for ref in (after.routes | before.routes) if route in {None, ref.name, str(ref)}]
    if not names:
        raise InvalidInput(
            f"there is no MoltBotRoute{f' {route}' if route else ''}: give the files that have one"
        )
    told = [_compared(name, before, after, loopback=bool(against)) for name in sorted(names)]
    held = {str(ref) for ref in given.routes}
    told = [
        {**each, "active": active.get(each["route"])}
        for each in told
        if each["changed"] or each["route"] in held or against
    ]
    changed = any(each["changed"] for each in told)
    if output is Format.JSON:
        print_json({"changed": changed, "routes": told})
    else:
        typer.echo("\n\n".join(map(text, told)))
    if detailed and changed:
        raise typer.Exit(_CHANGES)


def _applied(before: "Manifests", files: "Manifests") -> "Manifests":
    """The cluster's objects with those of the files put over them."""
    return type(files)(
        before.routes | files.routes, before.backends | files.backends, before.data | files.data
    )


def _compared(name: str, before: "Manifests", after: "Manifests", *, loopback: bool) -> dict[str, Any]:
    from moltbot_operator.compare.document import compare  # noqa: PLC0415
    from moltbot_operator.compare.settings import settings  # noqa: PLC0415
    from moltbot_operator.compile import compile_route  # noqa: PLC0415
    from moltbot_operator.compile.plan import plan as planned  # noqa: PLC0415

    sides = []
    for each in (before, after):
        held = any(str(ref) == name for ref in each.routes)
        sides.append(assumed(each, name, loopback=loopback)[0] if held else None)
    gateways = [None if side is None else planned(side).gateway for side in sides]
    revisions = [None if side is None else compile_route(side).revision for side in sides]
    specs = [None if side is None else side.spec for side in sides]
    return compare(gateways[0], gateways[1], (revisions[0], revisions[1]), settings(name, specs[0], specs[1]))
