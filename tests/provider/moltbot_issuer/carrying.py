"""The carrying out of faults: instead of doing what was asked, or after it was done."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from moltbot_issuer.faults import Fault, Faults

__all__ = ["after", "before"]

_HIDDEN = frozenset({"key", "api_key", "secret", "client_secret"})


async def before(  # noqa: PLR0911 -- one for each kind
    request: web.Request, fault: Fault, faults: Faults
) -> web.Response | None:
    """The answer of a fault without effect; None goes on."""
    match fault.kind:
        case "refuse":
            # as careless as some servers are: what was sent is quoted
            quoted = f"not allowed for {request.headers.get('authorization')}"
            return web.json_response({"error": {"message": quoted}}, status=403)
        case "status":
            given = {} if fault.retry_after is None else {"retry-after": fault.retry_after}
            return web.json_response({"error": "fault"}, status=fault.status, headers=given)
        case "limited":
            given = {"retry-after": fault.retry_after or "1"}
            return web.json_response({"error": "limited"}, status=429, headers=given)
        case "redirect":
            return web.Response(status=307, headers={"location": "https://elsewhere.example/keys"})
        case "hang":
            await faults.hang()
            return _cut(request)
        case "cut":
            return _cut(request)
        case "slow":
            await asyncio.sleep(fault.seconds)
    return None


async def after(  # noqa: PLR0911 -- one for each kind
    request: web.Request, fault: Fault | None, faults: Faults, status: int, document: Any
) -> web.Response:
    """The answer to what was done, whole or spoilt."""
    match fault.kind if fault else None:
        case "hang_after":
            await faults.hang()
            return _cut(request)
        case "lost":
            return _cut(request)
        case "error_after":
            return web.json_response({"error": "internal"}, status=500)
        case "huge":
            return web.Response(body=b" " * 10_000_000, status=status, content_type="application/json")
        case "malformed":
            text = json.dumps(document)
            return web.Response(text=text[: len(text) // 2], status=status, content_type="application/json")
        case "without_value" if isinstance(document, Mapping):
            document = {key: value for key, value in document.items() if key not in _HIDDEN}
    if status == 204:
        return web.Response(status=204)
    return web.json_response(document, status=status)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere
