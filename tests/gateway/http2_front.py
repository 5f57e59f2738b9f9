"""HTTP/2 before a simulated provider: a real Envoy that ends it and speaks HTTP/1.1 to the provider.

`x-front-protocol` and `x-front-connection` tell the provider what came in.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from free_ports import free_ports

from moltbot_agent.envoy import binary

__all__ = ["Front", "front"]

TYPES = "type.googleapis.com/envoy.extensions"


class Front:
    """`port` takes TLS with ALPN if certificates were given, else HTTP/2 without TLS."""

    def __init__(self, port: int, admin: int, secure: bool) -> None:
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin}"

    async def counted(self, suffix: str) -> int:
        """The sum of Envoy's counters and gauges whose name ends so."""
        async with httpx.AsyncClient() as client:
            found = (await client.get(f"{self.admin}/stats", params={"format": "json"})).json()["stats"]
        return sum(each.get("value", 0) for each in found if each.get("name", "").endswith(suffix))

    async def drain(self) -> None:
        """GOAWAY on every connection; requests in flight are still answered."""
        async with httpx.AsyncClient() as client:
            (await client.post(f"{self.admin}/healthcheck/fail")).raise_for_status()


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _config(
    ports: list[int], files: tuple[str, str] | None, alpn: tuple[str, ...], streams: int
) -> dict[str, Any]:
    port, admin, provider = ports
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "codec_type": "AUTO" if files else "HTTP2",
        "stream_idle_timeout": "0s",
        "drain_timeout": "0.1s",
        "http2_protocol_options": {"max_concurrent_streams": streams},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "request_headers_to_add": [
                {"header": {"key": "x-front-protocol", "value": "%PROTOCOL%"}},
                {"header": {"key": "x-front-connection", "value": "%CONNECTION_ID%"}},
            ],
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}],
                }
            ],
        },
    }
    chain: dict[str, Any] = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    }
    if files:
        pair = {"certificate_chain": {"filename": files[0]}, "private_key": {"filename": files[1]}}
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [pair], "alpn_protocols": list(alpn)},
            },
        }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(provider)}}]}
    cluster = {
        "name": "provider",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "provider", "endpoints": [endpoint]},
    }
    listener = {"name": "front", "address": _address(port), "filter_chains": [chain]}
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


@contextlib.asynccontextmanager
async def front(
    provider: int,
    folder: Path,
    *,
    files: tuple[str, str] | None = None,
    alpn: tuple[str, ...] = ("h2", "http/1.1"),
    streams: int = 1000,
) -> AsyncIterator[Front]:
    """Serve the provider at this port until the block ends; `streams`: how many at once on one connection."""
    port, admin = free_ports(2)
    config = folder / f"front-{port}.json"
    config.write_text(json.dumps(_config([port, admin, provider], files, alpn, streams)))
    said = folder / f"front-{port}.log"
    log = said.open("wb")
    command = [str(binary()), "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "warn"]
    process = await asyncio.create_subprocess_exec(*command, stderr=log, stdout=log)
    found = Front(port, admin, files is not None)
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(30):
            while True:
                assert process.returncode is None, f"see {said}"
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{found.admin}/ready")).status_code == 200:
                        break
                await asyncio.sleep(0.02)
        yield found
    finally:
        process.kill()
        await process.wait()
        log.close()
