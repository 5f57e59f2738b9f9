"""What `plan` says of a change is what it does in real gateways, before and after; all by chance."""

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path

import yaml
from agreement import KEYS, NAMES, objects, planned, routes, said, seen
from gateway_bed import serving
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from moltbot_provider import Provider

from moltbot_operator.compare import moved
from moltbot_operator.compare.document import compare
from moltbot_operator.compare.samples import samples
from moltbot_operator.compile import Files, compile_route
from moltbot_operator.compile.plan import plan
from moltbot_operator.serve.files import read

PLANS = int(os.environ.get("MOLTBOT_PLANS", "4"))
"""Changes that are made; each has two gateways (about two seconds) and up to 80 requests."""

MOST = 40
"""Requests to each gateway of a change."""


@st.composite
def changed(draw, route):
    """The route with one thing changed."""
    rules, backends, consumers = route
    number = draw(st.integers(0, len(rules) - 1))
    rule = rules[number]
    others = [*rules[:number], *rules[number + 1 :]]
    weights = [
        {**each, "weight": min(each["weight"] + 7 * at, 1_000_000)}
        for at, each in enumerate(rule["candidates"])
    ]
    made = draw(
        st.sampled_from(
            [
                [*rules[:number], {**rule, "candidates": weights}, *rules[number + 1 :]],
                [*rules[:number], {**rule, "fallback": rule["fallback"][1:]}, *rules[number + 1 :]],
                [*rules[:number], {**rule, "matches": rule["matches"][1:]}, *rules[number + 1 :]],
                [*others, rule],
                [rule, *others],
                others or rules,
                rules,
            ]
        )
    )
    if draw(st.integers(0, 4)) == 0:
        consumers = [{**each, "backends": each["backends"][:1]} for each in consumers]
    return made, backends, consumers


async def answered(bed, requests):
    """Each request's outcome as the gateway and its audit log show it."""
    answers = []
    for request in requests:
        headers = {**request.headers, "content-type": "application/json"}
        if request.consumer:
            headers["authorization"] = f"Bearer {KEYS[request.consumer]}"
        content = request.body and request.body.encode()
        answers.append(
            await bed.client.request(request.method, request.path, content=content, headers=headers)
        )
    records = {each["request_id"]: each for each in await bed.records(len(answers))}
    return [seen(answer, records[answer.headers["x-request-id"]]) for answer in answers]


async def confirm(folder, before, after):
    """Compares; the number of requests that were sent to both, and of those that went elsewhere."""
    async with contextlib.AsyncExitStack() as stack:
        urls = {name: (await stack.enter_async_context(Provider(name=name))).url for name in NAMES}
        beds, gateways = [], []
        for name, route in (("before", before), ("after", after)):
            (folder / name).mkdir()
            beds.append(await stack.enter_async_context(serving(objects(route, urls), folder=folder / name)))
            gateways.append(planned(read([folder / name / "manifests.yaml"])))
        groups, tried = moved(*gateways, samples(gateways))
        elsewhere = [group.example for group in groups]
        same = [each for each in samples(gateways) if each not in elsewhere]
        asked = [*elsewhere, *same[:: max(1, len(same) // 20)]][:MOST]
        results = [await answered(bed, asked) for bed in beds]
    for request, one, other in zip(asked, *results, strict=True):
        expected = [said(gateway, request, {}) for gateway in gateways]
        assert one in expected[0], request
        assert other in expected[1], request
        if not expected[0] & expected[1]:
            assert moved(*gateways, [request])[0], request
    assert sum(group.count for group in groups) <= tried
    return len(asked) * 2, len(elsewhere)


def test_plan_says_what_a_change_does(tmp_path):
    sent = []

    @settings(
        max_examples=PLANS,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(routes(), st.data())
    def agree(before, data):
        after = data.draw(changed(before))
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        sent.append(asyncio.run(confirm(folder, before, after)))

    agree()
    assert sent
    assert all(count for count, _ in sent)


def test_plan_finds_requests_that_go_elsewhere(tmp_path):
    """A change that surely moves some, which one by chance need not."""

    def route(backend):
        rule = {"name": "all", "candidates": [{"backend": backend, "weight": 1}]}
        scope = [{"name": "anyone", "auth": {"anonymous": {}}, "backends": NAMES}]
        return [rule], {name: {} for name in NAMES}, scope

    _, elsewhere = asyncio.run(confirm(tmp_path, route(NAMES[0]), route(NAMES[1])))
    assert elsewhere >= 1


def test_a_revision_that_differs_has_a_change_that_is_named(tmp_path):
    urls = {name: f"http://{name.replace('/', '.')}.example" for name in NAMES}

    def compiled(route):
        (tmp_path / "route.yaml").write_text(yaml.safe_dump_all(objects(route, urls)))
        given = read([tmp_path / "route.yaml"]).sources(None, {}, Files())
        return plan(given).gateway, compile_route(given).revision

    @settings(
        max_examples=40,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(routes(), st.data())
    def named(before, data):
        old, new = compiled(before), compiled(data.draw(changed(before)))
        told = compare(old[0], new[0], (old[1], new[1]))
        # a scope may lose what no rule gave: that is told, and leads to the same configuration
        assert told["changed"] == bool(told["changes"])
        assert told["changed"] or old[1] == new[1]
        assert old[1] != new[1] or not told["requests"]
        assert told["changed"] or not told["requests"]
        assert not any(each["respect"] == "configuration" for each in told["changes"])

    named()
