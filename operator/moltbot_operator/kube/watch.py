"""Watch users' Secrets, ConfigMaps and Namespaces as metadata only.

Existence, labels and resource version are all that reconcilers need between two reads; holding every
Secret of a cluster in memory is the classic way for a controller to run out of it.
"""

import asyncio
import random
from contextlib import aclosing
from datetime import timedelta
from typing import Final, NoReturn

import structlog

from moltbot_operator.errors import ClusterError, Gone
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.feed import Feed
from moltbot_operator.kube.queue import Backoff
from moltbot_operator.kube.resync import Scope, heal

__all__ = ["MetadataWatcher"]

LIFETIME: Final = (timedelta(minutes=4), timedelta(minutes=8))
"""How long one stream is asked to live: at random in between, so that streams don't end together."""

SHORT: Final = timedelta(seconds=1)
"""A stream that ends sooner without a word counts as a failure."""

FORBIDDEN: Final = 403


class MetadataWatcher:
    """List, then watch, for ever; lists anew when the server has forgotten the position (410)."""

    def __init__(
        self, cluster: KubeCluster, feed: Feed, scope: Scope, backoff: Backoff | None = None
    ) -> None:
        self.scope = scope
        self.listed = asyncio.Event()
        """Set once the cache has the first full listing."""
        self._cluster = cluster
        self._feed = feed
        self._backoff = backoff or Backoff(ceiling=timedelta(seconds=30))
        self._since: str | None = None
        self._failures = 0

    async def run(self) -> NoReturn:
        """Follow the API server; a failure is logged and tried again after a growing delay.

        Raises ClusterError if the very first listing is forbidden: the role is wrong, and waiting won't help.
        """
        log = structlog.get_logger(__name__).bind(scope=str(self.scope))
        while True:
            try:
                await self._follow()
            except Gone as error:
                self._since = None
                self._failures += 1
                log.info("watch position expired, listing again", error=str(error))
            except ClusterError as error:
                if error.status == FORBIDDEN and not self.listed.is_set():
                    raise
                self._failures += 1
                log.warning("watch failed, will be tried again", error=str(error), failures=self._failures)
            if self._failures:
                await asyncio.sleep(self._backoff.delay(self._failures).total_seconds())

    async def _follow(self) -> None:
        if self._since is None:
            self._since = await heal(self._cluster, self._feed, self.scope)
            self.listed.set()
        loop = asyncio.get_running_loop()
        began, words = loop.time(), 0
        low, high = (limit.total_seconds() for limit in LIFETIME)
        stream = self._cluster.watch(
            self.scope.kind,
            self.scope.namespace,
            since=self._since,
            lifetime=timedelta(seconds=random.uniform(low, high)),  # noqa: S311
            labels=self.scope.labels,
            metadata_only=self.scope.metadata_only,
        )
        async with aclosing(stream):
            async for event in stream:
                words += 1
                self._failures = 0
                self._since = event.manifest["metadata"]["resourceVersion"]
                if event.type == "DELETED":
                    self._feed.deleted(
                        self.scope.kind, event.manifest, metadata_only=self.scope.metadata_only
                    )
                elif event.type != "BOOKMARK":
                    self._feed.changed(
                        self.scope.kind, event.manifest, metadata_only=self.scope.metadata_only
                    )
        if not words and loop.time() - began < SHORT.total_seconds():
            self._failures += 1
