"""`moltbot rotation`: how the rotation of each backend's credential stands, and rotating one now."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moltbot_operator.errors import InvalidInput, NotFound
from moltbot_operator.kube.kinds import MODEL_BACKEND

if TYPE_CHECKING:
    from moltbot_operator.kube.client import KubeCluster

__all__ = ["Row", "app", "patch_of", "rows"]

LIMIT: Final = timedelta(seconds=15)
"""Of one call of the API server."""

app = typer.Typer(
    help="See how credentials rotate, or rotate one now.", no_args_is_help=True, rich_markup_mode=None
)

Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace; default: all.")]


class Output(StrEnum):
    """Forms of the answer."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True)
class Row:
    """One backend whose credential is rotated. Times are as the status has them (RFC 3339)."""

    namespace: str
    backend: str
    issuer: str
    phase: str | None
    version: str | None
    pending: str | None
    age: timedelta | None
    """Of the credential in use."""
    next: timedelta | None
    """Until the next rotation; below zero: overdue."""
    attempts: int
    message: str

    def as_json(self) -> dict[str, Any]:
        """Durations in whole seconds."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("age", "next"):
            value = found.pop(name)
            found[f"{name}Seconds"] = None if value is None else int(value.total_seconds())
        return found


def rows(backends: Iterable[dict[str, Any]], now: datetime) -> list[Row]:
    """Backends with `spec.rotation`, by namespace and name."""
    found = [_row(each, now) for each in backends if (each.get("spec") or {}).get("rotation")]
    return sorted(found, key=lambda row: (row.namespace, row.backend))


def patch_of(backend: dict[str, Any], now: datetime, compromised: str | None) -> dict[str, Any]:
    """The merge patch that rotates the backend's credential now. InvalidInput names what is in the way."""
    meta, spec = backend["metadata"], backend.get("spec") or {}
    name = f"ModelBackend {meta['namespace']}/{meta['name']}"
    rotation = spec.get("rotation")
    if not rotation:
        raise InvalidInput(f"{name} has no spec.rotation: say there who makes new credentials")
    if compromised is None:
        if rotation["issuer"]["type"] == "External":
            raise InvalidInput(
                f"{name} has the issuer External: its credential is replaced once its Secret's value changes"
            )
        return {"spec": {"rotation": {"rotateAt": now.astimezone(UTC).isoformat(timespec="seconds")}}}
    credential = (backend.get("status") or {}).get("credential") or {}
    known = [credential.get(each) for each in ("version", "pendingVersion", "previousVersion")]
    if compromised not in known:
        there = ", ".join(each for each in known if each) or "none"
        raise InvalidInput(f"{name} has no version {compromised}; it has {there}")
    return {"spec": {"rotation": {"compromised": compromised}}}


@app.command()
def status(
    backend: Annotated[str | None, typer.Argument(metavar="BACKEND", help="Only this one.")] = None,
    namespace: Namespace = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TABLE,
) -> None:
    """Show each backend's phase, version in use, age, next rotation, and what it waits for."""
    found = rows(asyncio.run(_backends(namespace)), datetime.now(UTC))
    found = [row for row in found if backend in {None, row.backend}]
    if backend is not None and not found:
        where = f" in {namespace}" if namespace else ""
        raise InvalidInput(f"no ModelBackend {backend} with spec.rotation{where}")
    if output is Output.JSON:
        typer.echo(json.dumps([row.as_json() for row in found], indent=2))
    elif not found:
        typer.echo("no ModelBackend has spec.rotation", err=True)
    else:
        Console(soft_wrap=True, highlight=False).print(_table(found))


@app.command()
def now(
    backend: Annotated[str, typer.Argument(metavar="BACKEND", help="Name of the ModelBackend.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    compromised: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="This version leaked: it is replaced and revoked without an overlap."
        ),
    ] = None,
) -> None:
    """Rotate a backend's credential now; what it sets in the spec, your GitOps tool may set back."""
    asyncio.run(_now(namespace, backend, compromised))
    what = f"version {compromised} is replaced and revoked" if compromised else "its credential is rotated"
    typer.echo(
        f"{namespace}/{backend}: {what}; follow it by: moltbot rotation status {backend} -n {namespace}"
    )


async def _now(namespace: str, name: str, compromised: str | None) -> None:
    async with _cluster() as cluster:
        try:
            live = await cluster.get(MODEL_BACKEND, namespace, name)
        except NotFound:
            raise InvalidInput(
                f"no ModelBackend {name} in namespace {namespace}; give its namespace with -n"
            ) from None
        patch = patch_of(live, datetime.now(UTC), compromised)
        await cluster.merge(MODEL_BACKEND, namespace, name, patch)


async def _backends(namespace: str | None) -> list[dict[str, Any]]:
    async with _cluster() as cluster:
        return await cluster.list(MODEL_BACKEND, namespace)


@asynccontextmanager
async def _cluster() -> AsyncIterator["KubeCluster"]:
    from moltbot_operator.kube.client import KubeCluster  # noqa: PLC0415 - other commands start faster
    from moltbot_operator.kube.connection import Connection  # noqa: PLC0415

    connection = await Connection.open(os.environ.get("KUBECONFIG", ""))
    async with connection.session(user="rotation") as session:
        yield KubeCluster(session, connection.server, timeout=LIMIT, identity="moltbot-rotation")


def _row(backend: dict[str, Any], at: datetime) -> Row:
    meta, credential = backend["metadata"], (backend.get("status") or {}).get("credential") or {}
    rotated, due = _moment(credential.get("lastRotationTime")), _moment(credential.get("nextRotationTime"))
    return Row(
        namespace=meta["namespace"],
        backend=meta["name"],
        issuer=backend["spec"]["rotation"].get("issuer", {}).get("type", ""),
        phase=credential.get("phase"),
        version=credential.get("version"),
        pending=credential.get("pendingVersion"),
        age=None if rotated is None else at - rotated,
        next=None if due is None else due - at,
        attempts=credential.get("attempts") or 0,
        message=credential.get("message") or "",
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _table(found: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("NAMESPACE", "BACKEND", "ISSUER", "PHASE", "VERSION", "PENDING", "AGE", "NEXT", "MESSAGE"):
        table.add_column(title, no_wrap=title != "MESSAGE")
    for row in found:
        style = "red" if row.attempts else "yellow" if row.phase not in {None, "Idle"} else ""
        texts = (
            row.namespace,
            row.backend,
            row.issuer,
            row.phase or "-",
            row.version or "-",
            row.pending or "-",
        )
        table.add_row(
            *(Text(text, style=style) for text in (*texts, _short(row.age), _short(row.next), row.message))
        )
    return table


def _short(length: timedelta | None) -> str:
    """The two largest units, such as 2d4h; `-` for none, and a minus before what has passed."""
    if length is None:
        return "-"
    seconds = int(abs(length.total_seconds()))
    units = (
        ("d", seconds // 86400),
        ("h", seconds // 3600 % 24),
        ("m", seconds // 60 % 60),
        ("s", seconds % 60),
    )
    first = next((place for place, (_, count) in enumerate(units) if count), len(units) - 1)
    text = "".join(f"{count}{unit}" for unit, count in units[first : first + 2] if count) or "0s"
    return f"-{text}" if length < timedelta(0) else text
