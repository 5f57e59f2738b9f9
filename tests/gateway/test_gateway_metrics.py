"""What the agent tells of calls, under OpenTelemetry's names for generative AI."""

import functools
from pathlib import Path

import pytest
from gateway_bed import BODY, backend, keyed, route, rule, secret, serving, until
from moltbot_provider import Provider
from prometheus_client.parser import text_string_to_metric_families

from moltbot_agent.calls import families
from moltbot_agent.config import Served

DURATION = "gen_ai_server_request_duration_seconds_count"
FIRST = "gen_ai_server_time_to_first_token_seconds_count"
TOKENS = "gen_ai_client_token_usage_sum"
A = {"backend": "default/a", "gen_ai_provider_name": "custom", "gen_ai_request_model": "a-v1"}
CHAT = {**A, "gen_ai_operation_name": "chat"}


async def scraped(bed):
    """Samples of the agent's `/metrics` by name and labels, `route` left out."""
    answer = await bed.client.get(f"http://127.0.0.1:{bed.running.metrics_port}/metrics")
    text = answer.raise_for_status().text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "route"}
            assert (sample.name, *sorted(labels.items())) not in found
            found[sample.name, *sorted(labels.items())] = sample.value
    return found


def value(found, name, **labels):
    return found.get((name, *sorted(labels.items())))


@pytest.fixture
async def bed(tmp_path: Path):
    async with Provider(name="a") as provider:
        objects = [
            route(
                rule("all", ["a"], failover={"maxRetries": 0}),
                consumers=[keyed("web", "a")],
            ),
            *backend("a", provider.url, model="a-v1"),
            secret("web-keys", one="key-one"),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            bed.provider = provider
            yield bed


KEY = {"authorization": "Bearer key-one"}


async def test_durations_first_tokens_tokens_and_consumers(bed):
    used = 0
    for _ in range(3):
        used += (await bed.chat(**KEY)).json()["usage"]["prompt_tokens"]
    await bed.chat(body={**BODY, "stream": True}, **KEY)
    await bed.chat("/v1/embeddings", {"model": "m", "input": "x"}, **KEY)
    await bed.provider.fault("status", status=503, count=1)
    await bed.chat(**KEY)
    await bed.provider.fault("status", status=429, count=1)
    await bed.chat(**KEY)
    await bed.chat()
    await bed.chat("/nothing", **KEY)

    async def merged():  # Envoy merges histograms now and then
        return value(await scraped(bed), DURATION, **CHAT, error_type="429") == 1

    await until(merged)
    found = await scraped(bed)
    embedded = {**A, "gen_ai_operation_name": "embeddings"}
    nobody = {"backend": "", "gen_ai_provider_name": "", "gen_ai_request_model": ""}
    assert value(found, DURATION, **CHAT, error_type="") == 4
    assert value(found, DURATION, **embedded, error_type="") == 1
    assert value(found, DURATION, **CHAT, error_type="503") == 1
    assert value(found, DURATION, **nobody, gen_ai_operation_name="chat", error_type="401") == 1
    assert value(found, DURATION, **nobody, gen_ai_operation_name="other", error_type="404") == 1
    assert value(found, FIRST, **CHAT) == 4
    total = value(found, TOKENS, **CHAT, gen_ai_token_type="input")
    assert total == pytest.approx(used, rel=0.1)
    count = "gen_ai_client_token_usage_count"
    assert value(found, count, **CHAT, gen_ai_token_type="output") == 3
    assert value(found, count, **embedded, gen_ai_token_type="input") == 1
    requests = "moltbot_consumer_requests_total"
    counts = [
        value(found, requests, consumer=name, code=code)
        for name, code in (("web", "2xx"), ("web", "4xx"), ("web", "5xx"), ("", "4xx"))
    ]
    assert counts == [5, 2, 1, 1]


async def test_series_are_bounded_by_the_configuration(bed):
    async def send(number):
        await bed.chat(f"/v1/unknown/{number}", {"model": f"m{number}", "messages": []}, **KEY)
        await bed.chat(f"/v1/chat/completions?{number}", authorization=f"Bearer wrong-{number}")

    await send(0)
    other = {**A, "gen_ai_operation_name": "other", "error_type": "404"}

    async def merged(count):
        return value(await scraped(bed), DURATION, **other) == count

    await until(functools.partial(merged, 1))
    before = {each for each in await scraped(bed) if not each[0].startswith("process_")}
    for number in range(1, 15):
        await send(number)
    await until(functools.partial(merged, 15))
    assert {each for each in await scraped(bed) if not each[0].startswith("process_")} == before


def test_what_is_not_of_the_configuration_has_no_name():
    text = "\n".join(
        f'envoy_moltbot_calls{{consumer="{name}",code="200"}} 1' for name in ("web", "gone", "other", "")
    )
    counter, *_ = families(text, "n/r", "n", {"n/a": Served()}, ["web"])
    counts = {sample.labels["consumer"]: sample.value for sample in counter.samples}
    assert counts == {"web": 1, "": 3}


async def test_attempts_count_for_the_backend_that_was_asked_however_it_was_reached(tmp_path):
    async with Provider(name="first") as first, Provider(name="next") as second:
        named = first.url.replace("127.0.0.1", "localhost")
        objects = [
            route(rule("all", ["first"], ["next"])),
            *backend("first", named),
            *backend("next", second.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            assert (await bed.chat()).headers["x-moltbot-backend"] == "first"
            await first.fault("status", status=500)
            assert (await bed.chat()).headers["x-moltbot-backend"] == "next"

            async def counted():
                found = await scraped(bed)
                return [
                    value(found, "moltbot_attempts_total", backend=f"default/{name}", code=code)
                    for name in ("first", "next")
                    for code in ("2xx", "5xx")
                ] == [1, 1, 1, 0]

            await until(counted)
