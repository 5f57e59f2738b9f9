"""1,000 backends and 1,000 rules in one route; with twenty keys (see compile/lint.py on their number)."""

import tracemalloc

from gateway_bed import backend, route, rule, secret, serving
from moltbot_provider import Provider

from moltbot_operator.api import ModelBackend, MoltBotRoute, parse_manifest
from moltbot_operator.compile import BackendRef, BackendSource, Files, RouteSources, compile_route

COUNT = 1000
KEYS = 20


def manifests(url, count=COUNT):
    """Every rule has two candidates and a fallback; every tenth asks for a model."""
    names = [f"backend-{number}" for number in range(count)]
    rules = [
        rule(
            f"rule-{number}",
            {names[number]: 70, names[(number + 1) % count]: 30},
            [names[(number + 2) % count]],
            path=f"^/team-{number}/",
            **({"model": [f"model-{number}"]} if number % 10 == 0 else {}),
        )
        for number in range(count)
    ]
    return [
        route(*rules),
        *(
            each
            for number, name in enumerate(names)
            for each in backend(name, url, secret_name=f"provider-{number % KEYS}", model=f"{name}-v1")
        ),
        *(secret(f"provider-{number}", token=f"key-{number}") for number in range(KEYS)),
    ]


def sources(objects):
    parsed = [parse_manifest(each) for each in objects if each["kind"] != "Secret"]
    spec = next(each.spec for each in parsed if isinstance(each, MoltBotRoute))
    refs = {
        BackendRef("default", each.metadata.name): each for each in parsed if isinstance(each, ModelBackend)
    }
    return RouteSources(
        "default",
        "assistant",
        spec,
        {ref: BackendSource(ref, each.spec) for ref, each in refs.items()},
        files=Files(loopback=True),
    )


def test_every_rule_is_served_and_the_configuration_fits_one_config_map():
    compiled = compile_route(sources(manifests("http://127.0.0.1:9")))
    assert all(rule.serving and rule.problem is None for rule in compiled.rules)
    assert sum(map(len, compiled.parts)) < 900_000


def test_memory_is_bounded():
    given = sources(manifests("http://127.0.0.1:9"))
    tracemalloc.start()
    compile_route(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 1024 * 1024


async def test_envoy_serves_it(tmp_path):
    async with Provider(name="all") as provider, serving(*manifests(provider.url), folder=tmp_path) as bed:
        for number in (0, 1, 500, 999):
            body = {"model": f"model-{number}", "messages": []}
            answer = await bed.chat(f"/team-{number}/v1/chat/completions", body)
            assert answer.status_code == 200
            served = answer.headers["x-moltbot-backend"]
            assert served in {f"backend-{number}", f"backend-{(number + 1) % COUNT}"}
            assert answer.json()["model"] == f"{served}-v1"
            assert provider.requests[-1].credentials == {
                "authorization": [f"Bearer key-{int(served.split('-')[1]) % KEYS}"]
            }
        unknown = await bed.chat("/team-990/v1/chat/completions", {"model": "other", "messages": []})
    assert unknown.status_code == 404
