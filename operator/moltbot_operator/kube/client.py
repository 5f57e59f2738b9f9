"""The real `Cluster`: the Kubernetes API over HTTP, each call with a timeout and errors that name the object.

Plain JSON in and out: models would have to be turned into dictionaries again for comparison and apply.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, cast

import aiohttp
import orjson

from moltbot_operator.constants import FIELD_MANAGER, SCALE_MANAGER
from moltbot_operator.errors import ClusterError, Conflict, Gone, NotFound
from moltbot_operator.kube.cluster import EventType, Manifest
from moltbot_operator.kube.events import EventRecorder
from moltbot_operator.kube.kinds import Kind, kind_of

__all__ = ["KubeCluster", "Page", "WatchEvent"]

CHUNK: Final = 500
"""Objects fetched by one call of a list."""

LIST_ATTEMPTS: Final = 3
"""How often a list starts anew when its position expires (5 minutes after its first chunk)."""

SILENCE: Final = timedelta(seconds=90)
"""A watch with bookmarks speaks about once a minute; one silent for longer is dead."""

JSON: Final = "application/json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

_ERRORS: Final[dict[int, type[ClusterError]]] = {404: NotFound, 409: Conflict, 410: Gone}

Manifests = list[Manifest]


class Page(NamedTuple):
    """One chunk of a list, and the resource version of the whole."""

    items: Manifests
    resource_version: str


class WatchEvent(NamedTuple):
    """A change; a BOOKMARK's object has a resource version and nothing else."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    manifest: Manifest


class KubeCluster:
    """Implements `moltbot_operator.kube.cluster.Cluster`, and more that only the shell uses."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        *,
        timeout: timedelta,
        identity: str,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        """`before_write` may raise to keep a replica that is no longer the leader from writing."""
        self._session = session
        self._server = server
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._before_write = before_write
        self.events = EventRecorder(self, instance=identity)

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """One object; NotFound."""
        return await self._call("GET", kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None = None, labels: str = "") -> Manifests:
        """All objects, in chunks."""
        for attempt in range(1, LIST_ATTEMPTS + 1):
            try:
                return [
                    item async for page in self.pages(kind, namespace, labels=labels) for item in page.items
                ]
            except Gone:
                if attempt == LIST_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def pages(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", metadata_only: bool = False
    ) -> AsyncGenerator[Page, None]:
        """A list chunk by chunk; Gone if reading it took too long."""
        query = {"limit": str(CHUNK)} | ({"labelSelector": labels} if labels else {})
        while True:
            answer = await self._call(
                "GET", kind, namespace, None, query=query, accept=METADATA_LIST if metadata_only else JSON
            )
            items = answer.get("items") or []  # an empty list of metadata is null
            for item in items:
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            yield Page(items, answer["metadata"]["resourceVersion"])
            if not (position := answer["metadata"].get("continue")):
                return
            query["continue"] = position

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply; a field that the server does not know is an error, not dropped in silence."""
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        kind, namespace, name = _identify(manifest)
        return await self._write(
            "PATCH", kind, namespace, name, body=manifest, query=query, content="application/apply-patch+yaml"
        )

    async def apply_status(self, kind: Kind, namespace: str, name: str, status: Manifest) -> Manifest:
        """JSON merge patch of the status."""
        return await self._write(
            "PATCH",
            kind,
            namespace,
            name,
            subresource="status",
            body={"status": status},
            query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
            content="application/merge-patch+json",
        )

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        """JSON merge patch of the scale subresource."""
        await self._write(
            "PATCH",
            kind,
            namespace,
            name,
            subresource="scale",
            body={"spec": {"replicas": replicas}},
            query={"fieldManager": SCALE_MANAGER},
            content="application/merge-patch+json",
        )

    async def create(self, manifest: Manifest) -> Manifest:
        """A new object; Conflict."""
        kind, namespace, name = _identify(manifest)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._write("POST", kind, namespace, None, body=manifest, query=query, what=name)

    async def replace(self, manifest: Manifest) -> Manifest:
        """PUT with the resource version given; Conflict if the object changed since."""
        kind, namespace, name = _identify(manifest)
        return await self._write(
            "PUT", kind, namespace, name, body=manifest, query={"fieldManager": FIELD_MANAGER}
        )

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Manifest) -> Manifest:
        """JSON merge patch of an object."""
        return await self._write(
            "PATCH",
            kind,
            namespace,
            name,
            body=patch,
            query={"fieldManager": FIELD_MANAGER},
            content="application/merge-patch+json",
        )

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete in the background; gone already, or another uid by now, is success."""
        body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._write("DELETE", kind, namespace, name, body=body)
        except NotFound:
            return
        except Conflict:
            if uid is None:
                raise

    async def event(
        self,
        regarding: Manifest,
        *,
        type: EventType,  # noqa: A002
        reason: str,
        action: str,
        message: str,
    ) -> None:
        """Tell users about an object; see `events.py`."""
        await self.events.record(regarding, type=type, reason=reason, action=action, message=message)

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        since: str,
        lifetime: timedelta,
        labels: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes after the resource version `since`, until the server ends the stream at `lifetime`.

        Raises Gone when `since` is too old, ClusterError when the stream breaks, falls silent or says so.
        """
        what = f"watch {kind.plural}" + (f" in {namespace}" if namespace else "")
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(int(lifetime.total_seconds())),
        } | ({"labelSelector": labels} if labels else {})
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeout.total, sock_read=SILENCE.total_seconds()
        )
        headers = {"Accept": METADATA if metadata_only else JSON}
        try:
            async with self._session.get(
                self._server + kind.path(namespace), params=query, headers=headers, timeout=limits
            ) as response:
                if response.status >= 400:  # noqa: PLR2004
                    raise _refusal(what, response.status, await response.read())
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(
                            what, int(event["object"].get("code") or 0), orjson.dumps(event["object"])
                        )
                    yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_answer(what, error) from error

    async def _write(
        self, method: str, kind: Kind, namespace: str | None, name: str | None, **call: Any
    ) -> Manifest:
        if self._before_write is not None:
            self._before_write()
        return await self._call(method, kind, namespace, name, **call)

    async def _call(
        self,
        method: str,
        kind: Kind,
        namespace: str | None,
        name: str | None,
        *,
        subresource: str = "",
        query: dict[str, str] | None = None,
        body: Manifest | None = None,
        content: str = JSON,
        accept: str = JSON,
        what: str | None = None,
    ) -> Manifest:
        named = f"{kind} {namespace}/{name or what}" if namespace else f"{kind} {name or what}"
        verb = f"{method} {named if name or what else kind.plural}" + (
            f" ({subresource})" if subresource else ""
        )
        try:
            async with self._session.request(
                method,
                self._server + kind.path(namespace, name, subresource),
                params=query,
                data=None if body is None else orjson.dumps(body),
                headers={"Content-Type": content, "Accept": accept},
                timeout=self._timeout,
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_answer(verb, error) from error
        if response.status >= 400:  # noqa: PLR2004
            raise _refusal(verb, response.status, raw)
        try:
            return cast("Manifest", orjson.loads(raw))
        except orjson.JSONDecodeError as error:
            raise ClusterError(f"{verb}: the answer is not JSON: {raw[:200]!r}", response.status) from error


def _identify(manifest: Manifest) -> tuple[Kind, str | None, str]:
    kind = kind_of(manifest)
    meta = manifest["metadata"]
    return kind, meta.get("namespace") if kind.namespaced else None, meta["name"]


def _no_answer(what: str, error: Exception) -> ClusterError:
    cause = str(error) or type(error).__name__
    return ClusterError(f"{what}: no answer from the API server: {cause}; it will be tried again")


def _refusal(what: str, status: int, raw: bytes) -> ClusterError:
    """The server's own words: a Status object's message, which names field and cause."""
    try:
        parsed = orjson.loads(raw)
        message = parsed.get("message") if isinstance(parsed, dict) else None
    except orjson.JSONDecodeError:
        message = None
    text = message or raw[:300].decode(errors="replace").strip() or "no reason given"
    hint = "; the operator's role lacks this right (see the chart's RBAC)" if status == 403 else ""  # noqa: PLR2004
    return _ERRORS.get(status, ClusterError)(f"{what}: {status}: {text}{hint}", status)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length (a Secret may have 1 MiB; aiohttp's own line reader stops at 128 KiB)."""
    rest = b""
    async for data in content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line:
                yield line
