"""The provider's admin API, on a port of its own.

==========================  ==========================================================================
`GET /healthz`              200
`GET /faults`               the faults in force
`PUT /faults`               one fault or a list, replacing all: `{"kind": "status", "count": 3}`
`DELETE /faults`            ends all faults
`GET /requests?after=N`     records with a number above N (default 0), and counts
`DELETE /requests`          forgets all records
`PUT /expect`               accepted credentials by header: `{"authorization": ["Bearer a", "Bearer b"]}`
`PUT /verify`               how tokens are verified: `{"introspect": URL}`, or `{"keys": [JWK], "issuer": …,
                            "subject": …, "audience": …}`, or with `"jwks_url": URL` for `keys`; `{}`: not
`GET /credentials`          each different `Authorization` that came, by its SHA-256: first and last time,
                            count, refusals, and the `kid` of a JWT
`POST /reset-connections`   resets every open connection
==========================  ==========================================================================

A request that can't be used is answered 400 with `{"error": message}`.
"""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from moltbot_provider.faults import KINDS, Fault
from moltbot_provider.server import Provider
from moltbot_provider.verify import FetchedKeys, Introspection, SignedTokens

__all__ = ["admin_app"]


def admin_app(provider: Provider) -> web.Application:  # noqa: C901 -- one small function an operation
    """The admin API of one provider."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"name": provider.name})

    async def get_faults(_request: web.Request) -> web.Response:
        return web.json_response(
            {"faults": [fault.as_json() for fault in provider.faults.active], "kinds": KINDS}
        )

    async def put_faults(request: web.Request) -> web.Response:
        given = await _body(request)
        try:
            faults = [Fault.from_json(item) for item in (given if isinstance(given, list) else [given])]
        except (ValueError, AttributeError, TypeError) as error:
            raise _bad(str(error)) from error
        await provider.set_faults(faults)
        return web.json_response({"faults": [fault.as_json() for fault in faults]})

    async def delete_faults(_request: web.Request) -> web.Response:
        await provider.clear()
        return web.json_response({"faults": []})

    async def get_requests(request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not after.isdigit():
            raise _bad("after must be a record's number")
        records = provider.requests
        return web.json_response(
            {
                "name": provider.name,
                "total": records.total,
                "inFlight": records.in_flight,
                "maxInFlight": records.max_in_flight,
                "requests": [record.as_json() for record in records if record.number > int(after)],
            }
        )

    async def delete_requests(_request: web.Request) -> web.Response:
        provider.requests.clear()
        return web.json_response({"total": 0})

    async def put_expect(request: web.Request) -> web.Response:
        given = await _body(request)
        if not isinstance(given, dict) or not all(isinstance(value, str | list) for value in given.values()):
            raise _bad('expect must map header names to values: {"authorization": ["Bearer a"]}')
        provider.set_expect(given)
        return web.json_response({"headers": sorted(provider.expect)})

    async def put_verify(request: web.Request) -> web.Response:
        given = await _body(request)
        if "introspect" in given:
            provider.verify = Introspection(given["introspect"])
        elif "jwks_url" in given:
            provider.verify = FetchedKeys(given.pop("jwks_url"), **given)
        else:
            provider.verify = SignedTokens(**given) if given else None
        return web.json_response({"verifies": provider.verify is not None})

    async def get_credentials(_request: web.Request) -> web.Response:
        return web.json_response({key: asdict(seen) for key, seen in provider.requests.seen.items()})

    async def reset_connections(_request: web.Request) -> web.Response:
        provider.reset_connections()
        return web.json_response({})

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/faults", get_faults),
            web.put("/faults", put_faults),
            web.delete("/faults", delete_faults),
            web.get("/requests", get_requests),
            web.delete("/requests", delete_requests),
            web.put("/expect", put_expect),
            web.put("/verify", put_verify),
            web.get("/credentials", get_credentials),
            web.post("/reset-connections", reset_connections),
        ]
    )
    return app


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError as error:
        raise _bad(f"the body is not JSON: {error}") from error


def _bad(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(
        text=web.json_response({"error": message}).text, content_type="application/json"
    )
