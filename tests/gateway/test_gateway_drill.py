"""The fault drill on real Envoy: backends are cut off for test requests, and what is left must serve."""

import httpx
import pytest
from gateway_bed import backend, route, rule, serving
from moltbot_provider import Provider

from moltbot_operator.compile.workloads import PROBE_KEY

QUICK = {"perTryTimeout": "20s", "backoff": {"base": "1ms", "max": "5ms"}}
DRILL = {"testing": {"faultDrill": True}}
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def providers():
    async with (
        Provider(name="pro", expect={"authorization": "Bearer key-pro"}) as pro,
        Provider(name="max", expect={"authorization": "Bearer key-max"}) as maximum,
        Provider(name="code", expect={"authorization": "Bearer key-code"}) as code,
    ):
        yield {"pro": pro, "max": maximum, "code": code}


def objects(providers, models=True, **failover):
    return [
        route(
            rule("tech", {"pro": 70, "max": 30}, ["code"], path="^/tech/", failover={**QUICK, **failover}),
            rollout=DRILL,
        ),
        *(
            each
            for name, provider in providers.items()
            for each in backend(
                name, provider.url, key=f"key-{name}", **({"model": f"{name}-v1"} if models else {})
            )
        ),
    ]


async def drill(bed, key):
    headers = {
        "authorization": f"Bearer {(bed.running.folder / 'probe' / PROBE_KEY).read_text()}",
        "x-moltbot-drill": key,
    }
    async with httpx.AsyncClient(base_url=bed.running.probe_url, timeout=30) as client:
        return await client.post("/v1/chat/completions", json=BODY, headers=headers)


@pytest.mark.parametrize("models", [True, False])
async def test_each_candidate_is_cut_off_in_turn_and_then_all_of_them(providers, tmp_path, models):
    async with serving(*objects(providers, models), folder=tmp_path) as bed:
        answers = {key: await drill(bed, key) for key in ("tech/pro", "tech/max", "tech")}
        normal = await bed.chat("/tech/v1/chat/completions")
    assert {key: answer.status_code for key, answer in answers.items()} == dict.fromkeys(answers, 200)
    served = {key: answer.headers["x-moltbot-backend"] for key, answer in answers.items()}
    assert served == {"tech/pro": "max", "tech/max": "pro", "tech": "code"}
    attempts = {key: answer.headers["x-moltbot-attempts"] for key, answer in answers.items()}
    assert attempts == {"tech/pro": "2", "tech/max": "2", "tech": "3"}
    assert {answer.headers["x-moltbot-rule"] for answer in answers.values()} == {"tech"}
    if models:
        assert answers["tech"].json()["model"] == "code-v1"
    assert normal.headers["x-moltbot-backend"] in {"pro", "max"}
    assert len(providers["code"].requests) == 1


async def test_a_retry_condition_that_never_matches_is_found(providers, tmp_path):
    async with serving(*objects(providers, retryOn=["429"]), folder=tmp_path) as bed:
        answer = await drill(bed, "tech/pro")
    assert answer.status_code == 503
    assert answer.headers["x-moltbot-attempts"] == "1"
    assert answer.json()["error"]["code"] == "backend_unavailable"
    assert not any(provider.requests for provider in providers.values())


async def test_too_few_retries_to_reach_the_fallback_are_found(providers, tmp_path):
    async with serving(*objects(providers, maxRetries=1), folder=tmp_path) as bed:
        assert (await drill(bed, "tech/pro")).status_code == 200
        assert (await drill(bed, "tech")).status_code == 503


async def test_a_fallback_whose_credential_is_wrong_is_found(providers, tmp_path):
    given = objects(providers)
    for each in given:
        if isinstance(each, dict) and each["metadata"]["name"] == "code-key":
            each["stringData"]["token"] = "another"
    async with serving(*given, folder=tmp_path) as bed:
        answer = await drill(bed, "tech")
    assert (answer.status_code, answer.headers["x-moltbot-backend"]) == (401, "code")


async def test_without_the_drill_in_the_spec_nothing_is_cut_off(providers, tmp_path):
    given = objects(providers)
    given[0]["spec"].pop("rollout")
    async with serving(*given, folder=tmp_path) as bed:
        answer = await drill(bed, "tech/pro")
    assert answer.status_code == 404
    assert "x-moltbot-drill" not in answer.headers
