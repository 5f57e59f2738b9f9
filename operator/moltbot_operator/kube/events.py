"""Events for users (`kubectl describe`, `kubectl events`), as events.k8s.io/v1.

The same event again is counted in the one that exists (`series`) instead of becoming another object, and the
count is written only as it doubles: a fault that repeats for hours costs a handful of writes. A token bucket
bounds what all objects together may write; what is over is counted and dropped.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from moltbot_operator.constants import FIELD_MANAGER, GROUP
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.cluster import EventType, Manifest
from moltbot_operator.kube.kinds import EVENT, Kind

__all__ = ["EventApi", "EventRecorder", "RateBound"]

WINDOW: Final = timedelta(minutes=10)
"""An event that did not repeat for this long is news again."""

REMEMBERED: Final = 2_000
"""Series remembered at most."""

MAX_NOTE: Final = 1024
"""Longest `note` the API takes, characters."""

MAX_NAME: Final = 253


class EventApi(Protocol):
    """The two calls that events need."""

    async def create(self, manifest: Manifest) -> Manifest:
        """A new event."""

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Manifest) -> Manifest:
        """JSON merge patch of an event; NotFound when it has expired."""


@dataclass
class RateBound:
    """A token bucket: `burst` at once, `per_second` in the long run."""

    burst: float = 50
    per_second: float = 2
    _tokens: float = -1
    _at: float = 0

    def take(self, now: float) -> bool:
        """Whether one more may be written at `now`, seconds of any clock that only goes forward."""
        earned = self.burst if self._tokens < 0 else self._tokens + (now - self._at) * self.per_second
        self._tokens, self._at = min(self.burst, earned), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass
class _Series:
    namespace: str
    name: str
    count: int
    seen: float


_SeriesKey = tuple[str, str, str, str, str]


class EventRecorder:
    """Writes events; never raises for a refusal, which must not fail the work that it tells about."""

    def __init__(
        self,
        api: EventApi,
        *,
        instance: str,
        bound: RateBound | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`instance` is this replica; `clock` (seconds) ages series, by default the event loop's."""
        self._api = api
        self._instance = instance[:128]
        self._bound = bound or RateBound()
        self._now = now
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._series: OrderedDict[_SeriesKey, _Series] = OrderedDict()
        self.dropped = 0
        """Events not written: over the bound, or refused."""

    async def record(
        self,
        regarding: Manifest,
        *,
        type: EventType,  # noqa: A002
        reason: str,
        action: str,
        message: str,
    ) -> None:
        """One occurrence; `reason` and `action` are CamelCase words, `message` a sentence for a person."""
        meta = regarding["metadata"]
        identity = meta.get("uid") or f"{regarding['kind']}/{meta.get('namespace', '')}/{meta['name']}"
        key = (identity, type, reason, action, message)
        now = self._clock()
        self._forget(now)
        series = self._series.get(key)
        if series is not None:
            series.count += 1
            series.seen = now
            self._series.move_to_end(key)
            if series.count & (series.count - 1):
                return
        if not self._bound.take(now):
            self.dropped += 1
            return
        try:
            if series is not None:
                await self._repeat(series)
                return
            event = self._event(regarding, type, reason, action, message)
            event_meta = event["metadata"]
            self._series[key] = _Series(event_meta["namespace"], event_meta["name"], 1, now)
            await self._api.create(event)
        except NotFound:
            # The event expired (an hour by default) or its namespace is going: the next one starts anew.
            self._series.pop(key, None)
        except ClusterError as error:
            self.dropped += 1
            self._series.pop(key, None)
            structlog.get_logger(__name__).warning("event not written", reason=reason, error=str(error))

    async def _repeat(self, series: _Series) -> None:
        patch = {"series": {"count": series.count, "lastObservedTime": _micro(self._now())}}
        await self._api.merge(EVENT, series.namespace, series.name, patch)

    def _event(
        self,
        regarding: Manifest,
        type: EventType,  # noqa: A002
        reason: str,
        action: str,
        message: str,
    ) -> Manifest:
        meta = regarding["metadata"]
        suffix = f".{secrets.token_hex(8)}"
        about = {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "name": meta["name"],
            "namespace": meta.get("namespace", ""),
            "uid": meta.get("uid", ""),
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {
                "name": meta["name"][: MAX_NAME - len(suffix)].rstrip(".-") + suffix,
                "namespace": meta.get("namespace") or "default",
            },
            "eventTime": _micro(self._now()),
            "reportingController": f"{GROUP}/{FIELD_MANAGER}",
            "reportingInstance": self._instance,
            "regarding": {field: value for field, value in about.items() if value},
            "type": type,
            "reason": reason,
            "action": action,
            "note": message if len(message) <= MAX_NOTE else message[: MAX_NOTE - 1] + "…",
        }

    def _forget(self, now: float) -> None:
        """Oldest first, so this looks at no more than it removes."""
        while self._series:
            key, series = next(iter(self._series.items()))
            if len(self._series) <= REMEMBERED and now - series.seen < WINDOW.total_seconds():
                return
            del self._series[key]


def _micro(when: datetime) -> str:
    """Kubernetes' MicroTime: RFC 3339 with six digits."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
