"""``python -m moltbot_identity``: one identity provider as a process; SIGTERM and SIGINT end it.

Its admin API, on a port of its own:

====================  ================================================================================
`GET /healthz`        200
`PUT /clients`        makes or replaces clients: `{"gateway": ["secret", "next secret"]}`
`PUT /life`           life of tokens granted from now on, in seconds: `{"seconds": 5}`
`PUT /fault`          one fault (see FAULTS): `{"kind": "status", "status": 503}`; `{}` ends it
`GET /calls`          how many calls there were, by outcome
`GET /issued`         SHA-256 of each token → the client's secret that it was granted for
`PUT /registration`   of clients by themselves: `{"initialToken": null, "secretLife": 0, "newToken": true,
                      "newSecret": true, "faults": [{"kind": "lost", "operation": "register"}]}`; all optional
`GET /registration`   clients that registered and exist, calls by outcome, and every value given out
====================  ================================================================================
"""

import argparse
import asyncio
import hashlib
import signal
from collections import Counter
from collections.abc import Sequence

from aiohttp import web
from moltbot_issuer.faults import Fault

from moltbot_identity.server import Identity


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="moltbot_identity", description="A simulated identity provider.")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--admin-port", type=int, default=8001)
    parser.add_argument("--client", action="append", default=[], metavar="ID=SECRET")
    parser.add_argument("--initial-token", help="wanted of clients that register; default: none")
    parser.add_argument(
        "--base", default="", help="URL of this server in registrations; default: by its port"
    )
    parser.add_argument("--life", type=float, default=60.0, help="of a token, in seconds")
    return parser.parse_args(arguments)


def admin_app(identity: Identity) -> web.Application:  # noqa: C901 -- one small function an operation
    """The admin API."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({})

    async def put_clients(request: web.Request) -> web.Response:
        given = await request.json()
        for name, values in given.items():
            identity.set_client(name, *values)
        return web.json_response({"clients": sorted(given)})

    async def put_life(request: web.Request) -> web.Response:
        identity.life = float((await request.json())["seconds"])
        return web.json_response({"seconds": identity.life})

    async def put_fault(request: web.Request) -> web.Response:
        given = await request.json()
        if given:
            await identity.fault(given.pop("kind"), **given)
        else:
            await identity.clear()
        return web.json_response({})

    async def put_registration(request: web.Request) -> web.Response:
        given, registration = await request.json(), identity.registration
        registration.initial_token = given.get("initialToken", registration.initial_token)
        registration.secret_life = given.get("secretLife", registration.secret_life)
        registration.new_token_on_update = given.get("newToken", registration.new_token_on_update)
        registration.new_secret_on_update = given.get("newSecret", registration.new_secret_on_update)
        if "faults" in given:
            registration.faults.set(*(Fault.from_json(each) for each in given["faults"]))
        return web.json_response({})

    async def get_registration(_request: web.Request) -> web.Response:
        registration = identity.registration
        outcomes = Counter(f"{call.operation} {call.outcome}" for call in registration.calls)
        names = {client.client_id: client.metadata.get("client_name") for client in registration.registered()}
        return web.json_response({"clients": names, "outcomes": outcomes, "values": registration.values})

    async def get_calls(_request: web.Request) -> web.Response:
        return web.json_response(Counter(call.outcome for call in identity.calls))

    async def get_issued(_request: web.Request) -> web.Response:
        found = {
            hashlib.sha256(f"Bearer {issued.token}".encode()).hexdigest(): issued.secret
            for issued in identity.all_issued()
        }
        return web.json_response(found)

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.put("/clients", put_clients),
            web.put("/life", put_life),
            web.put("/fault", put_fault),
            web.put("/registration", put_registration),
            web.get("/registration", get_registration),
            web.get("/calls", get_calls),
            web.get("/issued", get_issued),
        ]
    )
    return app


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal."""
    clients = dict(pair.partition("=")[::2] for pair in options.client)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    identity = Identity(clients, life=options.life, host=options.host, port=options.port)
    identity.registration.initial_token = options.initial_token
    identity.registration.base = options.base
    async with identity:
        runner = web.AppRunner(admin_app(identity), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, options.host, options.admin_port).start()
        print(f"identity provider: port {identity.port}, admin port {runner.addresses[0][1]}", flush=True)
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(parse()))
