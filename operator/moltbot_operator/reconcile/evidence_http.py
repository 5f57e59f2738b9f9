"""Evidence over HTTP: GET /evidence on the pod's own address; and what pods are told: PUT /leaving."""

import asyncio
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import ValidationError

from moltbot_operator.constants import PORT_EVIDENCE
from moltbot_operator.reconcile.evidence import Evidence, EvidenceUnavailable

__all__ = ["HttpEvidence"]

TIMEOUT: Final = timedelta(seconds=2)
"""Limit of one call. A pod of a partitioned node must not hold up the others."""

CONCURRENCY: Final = 32
"""Calls at a time, over all routes."""

ATTEMPTS: Final = 2
"""A single lost packet is no reason to say that a revision is not programmed."""


_CAN_NOT: Final = {httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED}
"""Answers of pods of an earlier release: their clients stay until the pods drain. Asking again is no use."""


class HttpEvidence:
    """Implements EvidenceReader and Teller. Use as a context manager, or call `close`."""

    def __init__(self, timeout: timedelta = TIMEOUT, port: int = PORT_EVIDENCE) -> None:
        """`port` is the agent's; tests have others."""
        self._port = port
        self._client = httpx.AsyncClient(
            timeout=timeout.total_seconds(), trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self._slots = asyncio.Semaphore(CONCURRENCY)

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        """EvidenceUnavailable after two attempts that got no answer, or at once for a refusal."""
        url = self._url(pod, "evidence")
        async with self._slots:
            response = await self._ask("GET", url, token, attempts=ATTEMPTS)
        if response.status_code != httpx.codes.OK:
            raise EvidenceUnavailable(f"its agent answers {response.status_code}")
        try:
            return Evidence.model_validate_json(response.content)
        except ValidationError as error:
            raise EvidenceUnavailable(
                f"its agent's evidence can't be read: {error.errors()[0]['msg']}"
            ) from error

    async def tell(self, pod: dict[str, Any], token: str, *, leaving: bool) -> None:
        """Implements Teller by PUT /leaving; one attempt, since it is told again."""
        url, body = self._url(pod, "leaving"), b"true" if leaving else b"false"
        async with self._slots:
            response = await self._ask("PUT", url, token, attempts=1, content=body)
        if response.status_code != httpx.codes.OK and response.status_code not in _CAN_NOT:
            raise EvidenceUnavailable(f"its agent answers {response.status_code}")

    def _url(self, pod: dict[str, Any], path: str) -> str:
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise EvidenceUnavailable("it has no address yet")
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self._port}/{path}"

    async def _ask(
        self, method: str, url: str, token: str, *, attempts: int, content: bytes | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        for attempt in range(1, attempts + 1):
            try:
                return await self._client.request(method, url, headers=headers, content=content)
            except httpx.HTTPError as error:
                if attempt == attempts:
                    cause = str(error) or type(error).__name__
                    raise EvidenceUnavailable(f"its agent does not answer ({cause})") from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
