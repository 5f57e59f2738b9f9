"""List and compare: what fills the cache at the start, and heals it afterwards.

An object that is deleted while a watch is broken gives no DELETED event (kopf lists anew and sees only what
is there), so every watched kind is listed in chunks from time to time and compared with the cache.
"""

import asyncio
import random
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn

import structlog

from moltbot_operator.errors import ClusterError
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.feed import Feed
from moltbot_operator.kube.kinds import Kind

__all__ = ["Scope", "heal", "resync_forever"]

RETRY: Final = timedelta(seconds=2)
"""Pause after a comparison that was asked for and failed."""


@dataclass(frozen=True)
class Scope:
    """What one watch covers: a kind, in one namespace or in all, by labels, whole or as metadata."""

    kind: Kind
    namespace: str | None = None
    labels: str = ""
    metadata_only: bool = False

    def __str__(self) -> str:
        return self.kind.plural + (f" in {self.namespace}" if self.namespace else "")


async def heal(cluster: KubeCluster, feed: Feed, scope: Scope) -> str:
    """Make the cache agree with a full listing; returns the listing's resource version.

    What the watches bring in while the list is read is safe: the cache takes no older version for a newer
    one, and only what was held before the list began, and still is in that version, counts as gone.
    Raises ClusterError (Gone if reading took too long); what was read until then is kept.
    """
    before = feed.cache.held(scope.kind, scope.namespace, metadata_only=scope.metadata_only)
    seen: set[str] = set()
    version = ""
    pages = cluster.pages(scope.kind, scope.namespace, labels=scope.labels, metadata_only=scope.metadata_only)
    async with aclosing(pages):
        async for page in pages:
            for manifest in page.items:
                seen.add(manifest["metadata"]["uid"])
                feed.changed(scope.kind, manifest, metadata_only=scope.metadata_only)
            version = page.resource_version
    for manifest in before:
        if manifest["metadata"].get("uid") not in seen:
            feed.deleted(scope.kind, manifest, metadata_only=scope.metadata_only)
    return version


async def resync_forever(
    cluster: KubeCluster,
    feed: Feed,
    scopes: Iterable[Scope],
    every: timedelta,
    asked: asyncio.Queue[Scope],
) -> NoReturn:
    """Heal all scopes every `every` (± 10 %, so that clusters spread), and single ones when `asked`."""
    log = structlog.get_logger(__name__)
    loop = asyncio.get_running_loop()
    scopes = tuple(scopes)
    while True:
        pause = every.total_seconds() * random.uniform(0.9, 1.1)  # noqa: S311
        due = loop.time() + pause
        while (left := due - loop.time()) > 0:
            try:
                scope = await asyncio.wait_for(asked.get(), left)
            except TimeoutError:
                break
            if not await _try_heal(cluster, feed, scope):
                await asyncio.sleep(RETRY.total_seconds())
                asked.put_nowait(scope)
        for scope in scopes:
            await _try_heal(cluster, feed, scope)
        log.debug("resynced", scopes=len(scopes))


async def _try_heal(cluster: KubeCluster, feed: Feed, scope: Scope) -> bool:
    try:
        await heal(cluster, feed, scope)
    except ClusterError as error:
        log = structlog.get_logger(__name__)
        log.warning("resync failed, will be tried again", scope=str(scope), error=str(error))
        return False
    return True
