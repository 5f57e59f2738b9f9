"""Metrics of rotations: from the resources' own status at each scrape, and failures as they are told."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from moltbot_operator.api import Rotation
from moltbot_operator.constants import ANNOTATION_KEY
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MODEL_BACKEND, SECRET

__all__ = ["CredentialsCollector", "Failures", "failures_of"]

MOST: Final = 1_000
"""Backends that have series of their own, the first by name."""


class Failures:
    """Warnings of rotations since the start, by backend and reason."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str]] = Counter()

    def count(self, backend: str, reason: str) -> None:
        """One more; the numbers of series are bounded."""
        if (backend, reason) in self.counted or len(self.counted) < MOST * 4:
            self.counted[backend, reason] += 1


_all: WeakKeyDictionary[Cache, Failures] = WeakKeyDictionary()


def failures_of(cache: Cache) -> Failures:
    """Those of the operator that has this cache."""
    return _all.setdefault(cache, Failures())


class CredentialsCollector(Collector):
    """`moltbot_credential_*` and `moltbot_rotation_*`, by backend; nothing secret."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterable[Metric]:
        """One scrape."""
        age = _gauge("moltbot_credential_age_seconds", "Since the credential in use was promoted")
        interval = _gauge("moltbot_credential_interval_seconds", "Age at which it is to be replaced")
        due = _gauge("moltbot_credential_next_rotation_timestamp_seconds", "When the next rotation is due")
        expires = _gauge(
            "moltbot_credential_expiry_timestamp_seconds", "When it expires, where that is known"
        )
        attempts = _gauge("moltbot_rotation_attempts", "Rotations that failed since the last that succeeded")
        found = sorted(
            (f"{backend['metadata']['namespace']}/{backend['metadata']['name']}", backend)
            for backend in self._cache.list(MODEL_BACKEND)
            if (backend.get("spec") or {}).get("rotation") is not None
        )
        now = datetime.now(UTC)
        for name, backend in found[:MOST]:
            status = (backend.get("status") or {}).get("credential") or {}
            interval.add_metric([name], _interval(backend["spec"]["rotation"]))
            attempts.add_metric([name], float(status.get("attempts") or 0))
            if (rotated := _time(status.get("lastRotationTime"))) is not None:
                age.add_metric([name], (now - rotated).total_seconds())
            if (next_ := _time(status.get("nextRotationTime"))) is not None:
                due.add_metric([name], next_.timestamp())
            if (end := _time(status.get("notAfter"))) is not None:
                expires.add_metric([name], end.timestamp())
        failures = CounterMetricFamily(
            "moltbot_rotation_failures", "What went wrong with rotations", labels=["backend", "reason"]
        )
        for (backend_name, reason), count in sorted(failures_of(self._cache).counted.items()):
            failures.add_metric([backend_name, reason], count)
        yield from (age, interval, due, expires, attempts, failures)
        yield from self._consumers(now)

    def _consumers(self, now: datetime) -> Iterable[Metric]:
        """Keys of consumers, by Secret."""
        label = ["secret"]
        age = GaugeMetricFamily("moltbot_consumer_key_age_seconds", "Since clients use the key", labels=label)
        due = GaugeMetricFamily(
            "moltbot_consumer_key_next_rotation_timestamp_seconds",
            "When the next rotation is due",
            labels=label,
        )
        found = sorted(
            (f"{secret['metadata']['namespace']}/{secret['metadata']['name']}", secret)
            for secret in self._cache.list(SECRET)
            if ANNOTATION_KEY in (secret["metadata"].get("annotations") or {})
        )
        for name, secret in found[:MOST]:
            state = _state(secret["metadata"]["annotations"][ANNOTATION_KEY])
            if (rotated := _time(state.get("lastRotationTime"))) is not None:
                age.add_metric([name], (now - rotated).total_seconds())
            if (next_ := _time(state.get("nextRotationTime"))) is not None:
                due.add_metric([name], next_.timestamp())
        yield from (age, due)


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["backend"])


def _state(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _interval(rotation: dict[str, Any]) -> float:
    try:
        return Rotation.model_validate(rotation).interval.total_seconds()
    except ValidationError:
        return Rotation.model_fields["interval"].get_default().total_seconds()  # type: ignore[no-any-return]


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
