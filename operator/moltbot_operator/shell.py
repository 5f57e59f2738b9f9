"""kopf, embedded: it logs in, watches, and calls `handlers.py`; everything it could write is turned off.

`kopf.operator()` is not used, since at its end it cancels every task of the loop that is younger than itself,
whoever made it; `kopf.spawn_tasks()` gives us its tasks to end.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, NoReturn

import kopf

from moltbot_operator.errors import ClusterError
from moltbot_operator.handlers import register
from moltbot_operator.kube.connection import ApiCall, Connection, Observer
from moltbot_operator.kube.feed import Feed
from moltbot_operator.kube.resync import Scope

__all__ = ["WatchGate", "run_kopf"]

CHUNK: Final = 500
"""Objects fetched by one call of kopf's initial list."""

_IDENTITY: Final[Any] = "moltbot-operator"
"""Who we are among kopf's peers; its type is private to kopf."""

END_LIMIT: Final = timedelta(seconds=10)
"""How long kopf's tasks may take to end once cancelled."""


class WatchGate:
    """Knows, by kopf's requests, when its watches are up; kopf itself tells nobody when it has listed a kind.

    A watch request follows the listing, so once all watches are up nothing that changes is missed any more,
    and a listing of our own can fill the cache. The same holds later for each kind that kopf had to list
    anew (after 410): what was deleted in between gave no event, so `relisted` asks for a comparison.
    """

    def __init__(self, scopes: Iterable[Scope]) -> None:
        self._scopes = {scope.kind.path(scope.namespace): scope for scope in scopes}
        self._missing = set(self._scopes)
        self._listed: set[str] = set()
        self._open = asyncio.Event()
        self.relisted: asyncio.Queue[Scope] = asyncio.Queue()
        """Scopes that were listed again since all watches were up."""

    def observe(self, call: ApiCall) -> None:
        """To be told of every call of kopf's session."""
        if call.status != 200 or call.path not in self._scopes:  # noqa: PLR2004
            return
        if call.verb == "list":
            self._listed.add(call.path)
        elif call.verb == "watch":
            if self._open.is_set() and call.path in self._listed:
                self.relisted.put_nowait(self._scopes[call.path])
            self._listed.discard(call.path)
            self._missing.discard(call.path)
            if not self._missing:
                self._open.set()

    async def wait(self, limit: timedelta) -> None:
        """Until all are up; ClusterError names those that are not after `limit`."""
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await self._open.wait()
        except TimeoutError:
            raise ClusterError(
                f"not watching after {limit}: {', '.join(sorted(self._missing))}; "
                "are the CRDs installed, and does the role allow list and watch?"
            ) from None


async def run_kopf(
    connection: Connection,
    feed: Feed,
    scopes: Iterable[Scope],
    *,
    observe: Observer,
    request_timeout: timedelta,
    restore_signals: Callable[[], None],
) -> NoReturn:
    """Watch `scopes` until cancelled; ClusterError if kopf ends by itself.

    kopf takes SIGINT and SIGTERM for itself as it starts; `restore_signals` sets right who is told of them.
    """
    scopes = tuple(scopes)
    registry = kopf.OperatorRegistry()
    register(registry, feed)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        session = connection.session(observe, user="kopf")
        sessions.push_async_callback(session.close)
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

    namespaces = {scope.namespace for scope in scopes if scope.namespace is not None}
    async with AsyncExitStack() as sessions:
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=_settings(scopes, request_timeout),
            # Unused by a standalone kopf, which else asks who the user is: in a pod, nobody that has a name.
            identity=_IDENTITY,
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
        )
        sessions.push_async_callback(_end, tasks)
        restore_signals()
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        errors = [error for task in done if not task.cancelled() and (error := task.exception()) is not None]
        cause = errors[0] if errors else None
        raise ClusterError(f"watching ended: {cause!r}; a restart begins anew") from cause


def _settings(scopes: Iterable[Scope], request_timeout: timedelta) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # neither CRDs nor Namespaces are watched: that needs rights and memory
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = request_timeout.total_seconds()
    settings.networking.error_backoffs = (0.5, 1, 2, 3, 5, 5, 5)
    settings.watching.chunk_size = CHUNK
    settings.watching.reconnect_backoff = 1.0
    settings.queueing.idle_timeout = 0.5
    for scope in scopes:
        if scope.labels:
            kind = scope.kind
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = scope.labels
    return settings


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel kopf's tasks and wait; what they raise while ending is of no more use."""
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=END_LIMIT.total_seconds())
    for task in done:
        if not task.cancelled():
            task.exception()
