"""Reading workers' `/metrics` over HTTP, and one number from Prometheus."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import httpx

from moltbot_operator.api import ScaleMetric
from moltbot_operator.constants import PORT_METRICS
from moltbot_operator.errors import MoltBotError
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.reconcile.scaling.readings import Reading, read

__all__ = ["HttpLoad", "LoadReader", "LoadUnavailable"]

TIMEOUT: Final = timedelta(seconds=3)
"""Of one call; a worker that is slower counts as one that says nothing."""

LONGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer that are read."""

CONCURRENCY: Final = 32


class LoadUnavailable(MoltBotError):  # noqa: N818
    """A worker or Prometheus gave no usable answer; the message says why."""


class LoadReader(Protocol):
    """Where measures come from."""

    async def worker(self, pod: Manifest, at: datetime) -> Reading:
        """One worker's figures; LoadUnavailable."""

    async def prometheus(self, metric: ScaleMetric) -> float:
        """The one number that the metric's query gives; LoadUnavailable."""


class HttpLoad:
    """The real one."""

    def __init__(self, port: int = PORT_METRICS, timeout: timedelta = TIMEOUT) -> None:
        self._port = port
        self._client = httpx.AsyncClient(
            timeout=timeout.total_seconds(), trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self._slots = asyncio.Semaphore(CONCURRENCY)

    async def worker(self, pod: Manifest, at: datetime) -> Reading:
        """From the pod's own port: no adapter is needed."""
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise LoadUnavailable("it has no address yet")
        host = f"[{address}]" if ":" in address else address
        text = await self._get(f"http://{host}:{self._port}/metrics", {})
        try:
            return read(text, at)
        except ValueError as error:
            raise LoadUnavailable(f"its metrics can't be read: {error}") from error

    async def prometheus(self, metric: ScaleMetric) -> float:
        """An instant query (https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries)."""
        url = f"{(metric.url or '').rstrip('/')}/api/v1/query"
        text = await self._get(url, {"query": metric.query or ""})
        try:
            return _number(httpx.Response(200, text=text).json())
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise LoadUnavailable(f"the answer of {metric.url} is not one number") from error

    async def _get(self, url: str, query: dict[str, str]) -> str:
        try:
            async with self._slots, self._client.stream("GET", url, params=query) as response:
                text = b""
                async for chunk in response.aiter_bytes():
                    text += chunk
                    if len(text) > LONGEST:
                        raise LoadUnavailable("the answer is too long")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LoadUnavailable(f"no answer ({str(error) or type(error).__name__})") from error
        if response.status_code != httpx.codes.OK:
            raise LoadUnavailable(f"the answer is {response.status_code}")
        return text.decode(errors="replace")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _number(document: Any) -> float:
    data = document["data"]
    if data["resultType"] == "scalar":
        return float(data["result"][1])
    result = data["result"]
    if len(result) != 1:
        raise ValueError(f"{len(result)} series")
    return float(result[0]["value"][1])
