"""What `explain` says of a request is what becomes of it in a real gateway; all by chance."""

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path

from agreement import FAULTS, INJECTED, KEYS, NAMES, objects, planned, requests, routes, said, seen
from gateway_bed import serving
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from moltbot_provider import Provider

from moltbot_operator.serve.files import read

ROUTES = int(os.environ.get("MOLTBOT_ROUTES", "10"))
"""Routes that are made, each with its own gateway (about a second) and 36 requests."""

ROUNDS = st.lists(st.tuples(FAULTS, st.lists(requests(), min_size=12, max_size=12)), min_size=3, max_size=3)


async def answers(bed, providers, faults, asked):
    for name in NAMES:
        await providers[name].set_faults([INJECTED[faults[name]]] if name in faults else [])
    for request in asked:
        headers = {**request.headers, "content-type": "application/json"}
        if request.consumer:
            headers["authorization"] = f"Bearer {KEYS[request.consumer]}"
        content = request.body and request.body.encode()
        yield (
            request,
            await bed.client.request(request.method, request.path, content=content, headers=headers),
        )


async def compare(folder, route, rounds):
    """Number of requests that were compared."""
    async with contextlib.AsyncExitStack() as stack:
        providers = {name: await stack.enter_async_context(Provider(name=name)) for name in NAMES}
        urls = {name: provider.url for name, provider in providers.items()}
        bed = await stack.enter_async_context(serving(objects(route, urls), folder=folder))
        gateway = planned(read([folder / "manifests.yaml"]))
        known = {each.name for each in gateway.consumers}
        answered = []
        for faults, asked in rounds:
            mine = [each if each.consumer in known else anonymous(each) for each in asked]
            answered += [(faults, *each) async for each in answers(bed, providers, faults, mine)]
        records = {each["request_id"]: each for each in await bed.records(len(answered))}
    for faults, request, answer in answered:
        found = seen(answer, records[answer.headers["x-request-id"]])
        assert found in said(gateway, request, faults), (request, faults, answer.status_code, answer.text)
    return len(answered)


def anonymous(request):
    return type(request)(request.path, request.method, request.headers, request.body)


def test_explain_says_what_a_real_gateway_does(tmp_path):
    compared = []

    @settings(
        max_examples=ROUTES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(routes(), ROUNDS)
    def agree(route, rounds):
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        compared.append(asyncio.run(compare(folder, route, rounds)))

    agree()
    assert sum(compared) == 36 * len(compared)
    assert len(compared) >= min(9, ROUTES)  # 324 requests
