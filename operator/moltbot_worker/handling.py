"""The ASGI application that the gateway's requests come to.

Raw ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html), since a framework costs more than the work.
Whatever goes wrong before the first byte is marked, so that the gateway serves the request without the
worker.
"""

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from moltbot_worker import protocol
from moltbot_worker.config import Rule, WorkerConfig
from moltbot_worker.errors import AnswerBroken, GatewayUnreachable
from moltbot_worker.exchange import Answer, Handler, Request, marked, refusal
from moltbot_worker.metrics import Metrics

__all__ = ["App", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JobsHandler = Callable[[str, str, str], Awaitable[Answer]]
"""Method, path and consumer → the answer of the job API."""

_log = logging.getLogger(__name__)


class _TooLarge(Exception):  # noqa: N818
    pass


class _Left(Exception):  # noqa: N818
    """The client is gone."""


class App:
    """`handlers` by rule; `key` gives the shared secret."""

    def __init__(
        self,
        config: WorkerConfig,
        handlers: dict[str, Handler],
        jobs: JobsHandler | None,
        key: Callable[[], bytes | None],
        metrics: Metrics,
    ) -> None:
        self._rules = {rule.name: (rule, handlers[rule.name]) for rule in config.rules}
        self._limits = config.limits
        self._jobs = jobs
        self._key = key
        self._metrics = metrics
        self.in_flight = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise RuntimeError(f"ASGI scope {scope['type']} is not served")
        began = time.perf_counter()
        own = {name: value for name, value in scope["headers"] if name.startswith(protocol.OWN)}
        rule = self._rules.get(own.get(protocol.RULE, b"").decode("latin-1"))
        name, outcome = rule[0].name if rule else "", "left"
        self.in_flight += 1
        self._metrics.in_flight.inc()
        try:
            status = await self._serve(scope, own, rule, receive, send)
            outcome = f"{status // 100}xx"
        except _Left:
            pass
        except AnswerBroken as error:
            # The head is out: only a connection that ends without the answer's end tells the client
            outcome = "broken"
            _log.info("answer broke off", extra={"rule": name, "why": str(error)})
        finally:
            self.in_flight -= 1
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(name, outcome).inc()
            self._metrics.duration.labels(name).observe(time.perf_counter() - began)

    async def _serve(
        self,
        scope: Scope,
        own: dict[bytes, bytes],
        rule: tuple[Rule, Handler] | None,
        receive: Receive,
        send: Send,
    ) -> int:
        key = self._key()
        if key is None or not hmac.compare_digest(own.get(protocol.KEY, b""), key):
            self._metrics.rejected.labels("key").inc()
            answer = refusal(403, "Only the gateway may ask a worker.", "forbidden")
            answer.headers.append((protocol.FAULT, b"worker"))
            return await self._send(answer, send)
        if self.in_flight > self._limits.in_flight:
            self._metrics.rejected.labels("busy").inc()
            return await self._send(marked("it has as many requests as it takes"), send)
        consumer = own.get(protocol.CONSUMER, b"").decode("latin-1")
        path = scope["raw_path"].decode("latin-1")
        if self._jobs is not None and path.partition("?")[0].startswith("/v1/jobs"):
            return await self._send(await self._jobs(scope["method"], path, consumer), send)
        if rule is None:
            return await self._send(marked("its configuration has no such rule"), send)
        try:
            body = await _read(receive, self._limits.body_bytes)
        except _TooLarge:
            self._metrics.rejected.labels("too_large").inc()
            mib = self._limits.body_bytes / 2**20
            return await self._send(
                refusal(413, f"The request is longer than {mib:g} MiB.", "too_large"), send
            )
        query, headers = scope["query_string"], scope["headers"]
        asked = own.get(protocol.MODEL, b"")
        request = Request(
            method=scope["method"],
            path=f"{path}?{query.decode('latin-1')}" if query else path,
            headers=[pair for pair in headers if not pair[0].startswith(protocol.OWN)],
            body=body,
            rule=rule[0],
            consumer=consumer,
            route=own.get(protocol.ROUTE, b"").decode("latin-1") or None,
            asked_model=asked[1:].decode("utf-8", "replace") if asked[:1] == b"=" else None,
            request_id=next((value for name, value in headers if name == protocol.REQUEST_ID), b""),
        )
        return await self._answer(request, rule[1], receive, send)

    async def _answer(self, request: Request, handler: Handler, receive: Receive, send: Send) -> int:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is served outside of a task")
        left = False

        def leave(_: object) -> None:
            nonlocal left
            left = True
            task.cancel()

        watch = asyncio.ensure_future(_until_left(receive))
        watch.add_done_callback(leave)
        try:
            answer = await _guarded(request, handler)
            if isinstance(answer.body, bytes):
                watch.remove_done_callback(leave)
            return await self._send(answer, send)
        except asyncio.CancelledError:
            if left and not task.uncancel():
                raise _Left from None
            raise
        finally:
            watch.remove_done_callback(leave)
            watch.cancel()

    async def _send(self, answer: Answer, send: Send) -> int:
        headers = answer.headers
        if self.draining:
            headers = [*headers, (b"connection", b"close")]
        if isinstance(answer.body, bytes):
            headers = [*headers, (b"content-length", str(len(answer.body)).encode())]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
            return answer.status
        async with contextlib.aclosing(answer.body) as body:
            try:
                first = await anext(body, b"")
            except AnswerBroken as error:
                return await self._send(broken(error), send)
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for part in body:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return answer.status


def broken(error: AnswerBroken) -> Answer:
    """For a client that was sent nothing yet."""
    return refusal(
        502, f"The backend did not answer well: {error}.", "backend_unavailable", kind="server_error"
    )


async def _guarded(request: Request, handler: Handler) -> Answer:
    try:
        return await handler(request)
    except GatewayUnreachable as error:
        _log.warning("gateway not reached", extra={"rule": request.rule.name, "why": str(error)})
        return marked("it does not reach the gateway")
    except AnswerBroken as error:
        return broken(error)
    except Exception:  # noqa: BLE001 - a defect costs the feature, not the request
        _log.exception("defect")  # the formatter writes type and place only
        return marked("a defect, see its log")


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Left
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise _TooLarge
        return body
    parts, length = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        parts.append(message.get("body", b""))
        length += len(parts[-1])
        if length > limit:
            raise _TooLarge
    return b"".join(parts)


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
