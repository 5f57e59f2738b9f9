"""Every fault of a provider, plain and streamed, at the first or at every backend: what comes of it."""

import asyncio
import contextlib
import importlib.util
from pathlib import Path

import pytest
from aiohttp import web
from fault_matrix import BACKEND, RULE, cells, found
from gateway_bed import CHAT, backend, route, serving
from moltbot_provider import Provider
from moltbot_provider.admin import admin_app

IN_POD = Path(__file__).parent.parent / "e2e" / "in_pod.py"


def client():
    """The client of the e2e tests."""
    spec = importlib.util.spec_from_file_location("in_pod", IN_POD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.asynccontextmanager
async def administered(provider):
    runner = web.AppRunner(admin_app(provider), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of every cell, by its id."""

    async def run():
        async with Provider(name="first") as first, Provider(name="second") as second:
            objects = [each for p in (first, second) for each in backend(p.name, p.url, **BACKEND)]
            async with (
                administered(first) as one,
                administered(second) as two,
                serving(route(RULE), objects, folder=tmp_path_factory.mktemp("matrix")) as bed,
            ):
                job = {"url": bed.running.url + CHAT, "admins": {"first": one, "second": two}}
                every = cells()
                results = (await client().matrix({**job, "cells": [cell.job for cell in every]}))["results"]
                records = {each["request_id"]: each for each in await bed.records(len(every))}
        return {
            cell.id: found(cell, result, records[cell.request_id])
            for cell, result in zip(every, results, strict=True)
        }

    return asyncio.run(run())


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: cell.id)
def test_cell(outcomes, cell):
    assert outcomes[cell.id] == cell.outcome
