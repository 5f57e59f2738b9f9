"""The JWKS of managed signing keys over HTTP, for providers that fetch the keys they verify tokens with.

::

    GET /jwks/<namespace>/<backend>   200, application/jwk-set+json, max-age as cacheMaxAge says

Every replica answers, the standby too, from what the API server says; while that is out of reach, with what
it said last. Public keys are no secret, so nobody has to show who they are; nothing but JWKS that belong to a
ModelBackend with a managed key is shown, and what is not there costs the API server one look in a while.

Source: RFC 7517 §8.5 (media type), RFC 9111 §5.2.2 and RFC 5861 §4 (cache-control).
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from moltbot_operator.api import ManagedKey, ModelBackendSpec
from moltbot_operator.api.fields import is_dns_label
from moltbot_operator.compile.credentials import jwks_name
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND

__all__ = ["FRESH", "JWKS_KEY", "JwksServer"]

JWKS_KEY: Final = "jwks.json"
"""Key of the ConfigMap."""

FRESH: Final = timedelta(seconds=5)
"""How long an answer of the API server is used; part of the time in which a new key becomes known."""

LIMIT: Final = timedelta(seconds=3)
"""How long the API server may take."""

REMEMBERED: Final = 1000
"""Backends, at most."""

AT_ONCE: Final = 4
"""Calls of the API server that are under way for this."""

STALE: Final = 24 * 3600
"""Seconds for which verifiers may go on with a set that they can't fetch anew."""

CONTENT_TYPE: Final = "application/jwk-set+json"


@dataclass(frozen=True)
class _Known:
    """What the API server said of a backend; `body` None: it has no JWKS."""

    at: float
    body: bytes | None
    max_age_s: int = 0


class JwksServer:
    """A listener, open for as long as the `async with` block lasts."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float], *, address: str, port: int) -> None:
        """`clock`: seconds that only rise. Port 0 is a free one."""
        self._cluster = cluster
        self._clock = clock
        self._address = address
        self.port = port
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/jwks/{namespace}/{backend}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        place = (request.match_info["namespace"], request.match_info["backend"])
        if not all(map(is_dns_label, place)):
            return _missing()
        known = await self._look(place)
        if known is None:
            headers = {"retry-after": "5", "cache-control": "no-store"}
            return web.Response(status=503, text="the API server does not answer\n", headers=headers)
        if known.body is None:
            return _missing()
        tag = f'"{hashlib.sha256(known.body).hexdigest()[:32]}"'
        headers = {
            "cache-control": f"public, max-age={known.max_age_s}, stale-if-error={STALE}",
            "etag": tag,
        }
        if request.headers.get("if-none-match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=known.body, content_type=CONTENT_TYPE, headers=headers)

    async def _look(self, place: tuple[str, str]) -> _Known | None:
        """What is known, asked anew where it is not fresh; None where nobody ever knew."""
        known = self._known.get(place)
        if known is None or self._clock() - known.at >= FRESH.total_seconds():
            async with self._places:
                again = self._known.get(place)
                if again is not known:  # somebody asked meanwhile
                    return again
                try:
                    async with asyncio.timeout(LIMIT.total_seconds()):
                        known = await self._read(*place)
                except (ClusterError, TimeoutError):
                    if known is None:
                        return None
                    known = replace(known, at=self._clock())
                self._known[place] = known
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return known

    async def _read(self, namespace: str, name: str) -> _Known:
        began = self._clock()
        try:
            backend = await self._cluster.get(MODEL_BACKEND, namespace, name)
            found = _config_map(backend)
            if found is None:
                return _Known(began, None)
            wanted, max_age = found
            live = await self._cluster.get(CONFIG_MAP, namespace, wanted)
        except NotFound:
            return _Known(began, None)
        owners = live["metadata"].get("ownerReferences") or []
        uid = backend["metadata"]["uid"]
        text = (live.get("data") or {}).get(JWKS_KEY)
        if text is None or not any(each.get("controller") and each.get("uid") == uid for each in owners):
            return _Known(began, None)
        return _Known(began, text.encode(), int(max_age.total_seconds()))


def _config_map(backend: dict[str, Any]) -> tuple[str, timedelta] | None:
    """Name of the backend's ConfigMap and how long its content may be kept; None without a managed key."""
    try:
        spec = ModelBackendSpec.model_validate(backend.get("spec") or {})
    except ValueError:
        return None
    if spec.auth.jwt is None or not spec.auth.jwt.signing_key.managed:
        return None
    issuer = spec.rotation.issuer if spec.rotation is not None else None
    managed = (issuer.managed_key if issuer is not None else None) or ManagedKey()
    return jwks_name(backend["metadata"]["name"], spec), managed.cache_max_age


def _missing() -> web.Response:
    headers = {"cache-control": "no-store"}
    return web.Response(status=404, text="no ModelBackend with a managed key\n", headers=headers)
