"""``python -m moltbot_issuer``: one issuer as a process; SIGTERM and SIGINT end it.

Its admin API, on a port of its own:

==================  ==================================================================================
`GET /healthz`      200
`PUT /faults`       a list of faults (see FAULTS): `[{"kind": "lost", "operation": "create"}]`
`GET /calls`        how many calls there were, by operation, and by operation and outcome
`GET /keys`         name, SHA-256 of the value, and whether it is valid, of each key that was made
`GET /values`       all values that were made, for tests that look for them where they must not be
==================  ==================================================================================
"""

import argparse
import asyncio
import signal
from collections import Counter
from collections.abc import Sequence

from aiohttp import web

from moltbot_issuer.faults import Fault
from moltbot_issuer.server import Issuer


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="moltbot_issuer", description="A simulated issuer of API keys.")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--admin-port", type=int, default=8001)
    parser.add_argument("--admin-key", required=True, help="accepted as Authorization: Bearer …")
    parser.add_argument("--page", type=int, default=100, help="most keys that a list shows at once")
    parser.add_argument(
        "--key", action="append", default=[], metavar="NAME=VALUE", help="valid from the start"
    )
    return parser.parse_args(arguments)


def admin_app(issuer: Issuer) -> web.Application:
    """The admin API."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({})

    async def put_faults(request: web.Request) -> web.Response:
        try:
            faults = [Fault.from_json(each) for each in await request.json()]
        except (ValueError, TypeError, AttributeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        issuer.faults.set(*faults)
        return web.json_response({"faults": len(faults)})

    async def get_calls(_request: web.Request) -> web.Response:
        outcomes = Counter(f"{call.operation} {call.outcome}" for call in issuer.calls)
        return web.json_response({"operations": issuer.count(), "outcomes": outcomes})

    async def get_keys(_request: web.Request) -> web.Response:
        found = [{"name": key.name, "sha256": key.hash, "valid": key.valid} for key in issuer.keys.all]
        return web.json_response(found)

    async def get_values(_request: web.Request) -> web.Response:
        return web.json_response([key.value for key in issuer.keys.all])

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.put("/faults", put_faults),
            web.get("/calls", get_calls),
            web.get("/keys", get_keys),
            web.get("/values", get_values),
        ]
    )
    return app


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    issuer = Issuer(admin_key=options.admin_key, page=options.page, host=options.host, port=options.port)
    for pair in options.key:
        name, _, value = pair.partition("=")
        issuer.keys.make(name).value = value
    async with issuer:
        runner = web.AppRunner(admin_app(issuer), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, options.host, options.admin_port).start()
        print(f"issuer: port {issuer.port}, admin port {runner.addresses[0][1]}", flush=True)
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(parse()))
