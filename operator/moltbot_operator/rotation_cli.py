"""`moltbot rotation`: how credentials and consumers' keys rotate, and replacing one now."""

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

from moltbot_operator.constants import (
    ANNOTATION_KEY,
    ANNOTATION_ROTATE_AT,
    COMPONENT_CONSUMER_KEY,
    LABEL_COMPONENT,
)
from moltbot_operator.errors import ClusterError, InvalidInput, NotFound
from moltbot_operator.kube.kinds import MODEL_BACKEND, SECRET

if TYPE_CHECKING:
    from moltbot_operator.kube.client import KubeCluster

__all__ = ["Row", "app", "key_patch_of", "key_rows", "patch_of", "rows"]

LIMIT: Final = timedelta(seconds=15)
"""Of one call of the API server."""

FORBIDDEN: Final = 403

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
    """One backend whose credential is rotated, or one Secret with a consumer's key."""

    namespace: str
    backend: str | None
    """None for a consumer's key."""
    secret: str | None
    """Of a consumer's key."""
    issuer: str
    """Its type; `ConsumerKey` for a consumer's key."""
    phase: str | None
    version: str | None
    pending: str | None
    age: timedelta | None
    """Of the credential in use."""
    next: timedelta | None
    """Until the next rotation; below zero: overdue."""
    attempts: int
    message: str

    @property
    def name(self) -> str:
        """As the table shows it."""
        return self.backend or f"secret/{self.secret}"

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
    return sorted(found, key=lambda row: (row.namespace, row.name))


def key_rows(secrets: Iterable[dict[str, Any]], now: datetime) -> list[Row]:
    """Secrets with a consumer's key that is rotated, by namespace and name; nothing of their data."""
    found = [
        _row_of(each["metadata"], "ConsumerKey", _state(each), now, secret=True)
        for each in secrets
        if ANNOTATION_KEY in (each["metadata"].get("annotations") or {})
    ]
    return sorted(found, key=lambda row: (row.namespace, row.name))


def key_patch_of(secret: dict[str, Any], now: datetime, compromised: str | None) -> dict[str, Any]:
    """The merge patch that replaces a consumer's key now. InvalidInput names what is in the way."""
    meta = secret["metadata"]
    name = f"Secret {meta['namespace']}/{meta['name']}"
    if ANNOTATION_KEY not in (meta.get("annotations") or {}):
        raise InvalidInput(f"{name} has no key that is rotated: write rotation at the consumer that names it")
    if compromised is None:
        at = now.astimezone(UTC).isoformat(timespec="seconds")
        return {"metadata": {"annotations": {ANNOTATION_ROTATE_AT: at}}}
    known = sorted(key.removeprefix("key-") for key in secret.get("data") or {} if key.startswith("key-"))
    if compromised not in known:
        raise InvalidInput(f"{name} has no version {compromised}; it has {', '.join(known) or 'none'}")
    return {"data": {f"key-{compromised}": None}}


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
    backend: Annotated[
        str | None, typer.Argument(metavar="BACKEND", help="Only this one, or secret/NAME.")
    ] = None,
    namespace: Namespace = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TABLE,
) -> None:
    """Show each one's phase, version in use, age, next rotation, and what it waits for."""
    found = asyncio.run(_found(namespace))
    found = [row for row in found if backend in {None, row.name}]
    if backend is not None and not found:
        where = f" in {namespace}" if namespace else ""
        key = backend.startswith("secret/")
        what = (
            f"consumer's key in {backend} is rotated" if key else f"ModelBackend {backend} with spec.rotation"
        )
        raise InvalidInput(f"no {what}{where}")
    if output is Output.JSON:
        typer.echo(json.dumps([row.as_json() for row in found], indent=2))
    elif not found:
        typer.echo("no ModelBackend has spec.rotation, and no consumer's key is rotated", err=True)
    else:
        Console(soft_wrap=True, highlight=False).print(_table(found))


@app.command()
def now(
    backend: Annotated[
        str,
        typer.Argument(
            metavar="BACKEND", help="Name of the ModelBackend, or secret/NAME for a consumer's key."
        ),
    ],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    compromised: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="This version leaked: it is replaced and revoked without an overlap."
        ),
    ] = None,
) -> None:
    """Rotate a credential now; what it sets in a backend's spec, your GitOps tool may set back."""
    asyncio.run(_now(namespace, backend, compromised))
    key = backend.startswith("secret/")
    rotated = "its key is replaced" if key else "its credential is rotated"
    what = f"version {compromised} is replaced and revoked" if compromised else rotated
    typer.echo(
        f"{namespace}/{backend}: {what}; follow it by: moltbot rotation status {backend} -n {namespace}"
    )


async def _now(namespace: str, name: str, compromised: str | None) -> None:
    async with _cluster() as cluster:
        if name.startswith("secret/"):
            secret = name.removeprefix("secret/")
            try:
                live = await cluster.get(SECRET, namespace, secret)
            except NotFound:
                raise InvalidInput(
                    f"no Secret {secret} in namespace {namespace}; give its namespace with -n"
                ) from None
            await cluster.merge(SECRET, namespace, secret, key_patch_of(live, datetime.now(UTC), compromised))
            return
        try:
            live = await cluster.get(MODEL_BACKEND, namespace, name)
        except NotFound:
            raise InvalidInput(
                f"no ModelBackend {name} in namespace {namespace}; give its namespace with -n"
            ) from None
        patch = patch_of(live, datetime.now(UTC), compromised)
        await cluster.merge(MODEL_BACKEND, namespace, name, patch)


async def _found(namespace: str | None) -> list[Row]:
    """Backends, then consumers' keys, as far as the caller may list Secrets."""
    async with _cluster() as cluster:
        found = rows(await cluster.list(MODEL_BACKEND, namespace), datetime.now(UTC))
        try:
            secrets = await cluster.list(SECRET, namespace, f"{LABEL_COMPONENT}={COMPONENT_CONSUMER_KEY}")
        except ClusterError as error:
            if error.status != FORBIDDEN:
                raise
            typer.echo("consumers' keys are not shown: you may not list Secrets", err=True)
            return found
        return found + key_rows(secrets, datetime.now(UTC))


@asynccontextmanager
async def _cluster() -> AsyncIterator["KubeCluster"]:
    from moltbot_operator.kube.client import KubeCluster  # noqa: PLC0415 - other commands start faster
    from moltbot_operator.kube.connection import Connection  # noqa: PLC0415

    connection = await Connection.open(os.environ.get("KUBECONFIG", ""))
    async with connection.session(user="rotation") as session:
        yield KubeCluster(session, connection.server, timeout=LIMIT, identity="moltbot-rotation")


def _row(backend: dict[str, Any], at: datetime) -> Row:
    credential = (backend.get("status") or {}).get("credential") or {}
    issuer = backend["spec"]["rotation"].get("issuer", {}).get("type", "")
    return _row_of(backend["metadata"], issuer, credential, at, secret=False)


def _row_of(
    meta: dict[str, Any], issuer: str, credential: dict[str, Any], at: datetime, *, secret: bool
) -> Row:
    rotated, due = _moment(credential.get("lastRotationTime")), _moment(credential.get("nextRotationTime"))
    return Row(
        namespace=meta["namespace"],
        backend=None if secret else meta["name"],
        secret=meta["name"] if secret else None,
        issuer=issuer,
        phase=credential.get("phase"),
        version=credential.get("version"),
        pending=credential.get("pendingVersion"),
        age=None if rotated is None else at - rotated,
        next=None if due is None else due - at,
        attempts=credential.get("attempts") or 0,
        message=credential.get("message") or "",
    )


def _state(secret: dict[str, Any]) -> dict[str, Any]:
    """What the annotation says; what can't be read (somebody edited it) says nothing."""
    try:
        found = json.loads(secret["metadata"]["annotations"][ANNOTATION_KEY])
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _table(found: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("NAMESPACE", "NAME", "ISSUER", "PHASE", "VERSION", "PENDING", "AGE", "NEXT", "MESSAGE"):
        table.add_column(title, no_wrap=title != "MESSAGE")
    for row in found:
        style = "red" if row.attempts else "yellow" if row.phase not in {None, "Idle"} else ""
        texts = (
            row.namespace,
            row.name,
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
