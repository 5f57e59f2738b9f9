"""Which requests go to the worker, how the gateway comes to them, and what a worker is told."""

import json

import pytest
from compile_given import backend, clusters, compiled, rule, walk

from moltbot_operator.compile import Files, WorkerAddress, WorkerFiles, worker_secret
from moltbot_operator.compile.workloads.revision import identify
from moltbot_worker.config import WorkerConfig

WORKER = {"worker": {}}
ASKED = {
    "cache": {"cache": {}},
    "coalesce": {"coalesce": True},
    "batch": {"batch": {}},
    "async": {"async": {}},
    "aggregate": {"aggregate": {"strategy": "All", "backends": ["a", "b"]}},
    "stream": {"failover": {"stream": {}}},
}
BOTH = [backend("a", model="a-1", secret="s"), backend("b", model="b-1")]


def hop_routes(result):
    return [each for each in walk(result.envoy) if _cluster(each) == "hop"]


def _cluster(node):
    """Where a route leads; empty for what is no route."""
    action = node.get("route")
    return action.get("cluster", "") if isinstance(action, dict) else ""


def headers_to_add(route):
    return {each["header"]["key"]: each["header"]["value"] for each in route["request_headers_to_add"]}


@pytest.mark.parametrize("feature", ASKED)
def test_a_rule_goes_to_the_worker_for_each_feature_and_an_envoy_without_one_is_as_before(feature):
    plain = compiled([rule("r", ["a"], ["b"])], BOTH)
    assert compiled([rule("r", ["a"], ["b"])], BOTH, spec=WORKER).envoy == plain.envoy
    asking = compiled([rule("r", ["a"], ["b"], **ASKED[feature])], BOTH, spec=WORKER)
    assert plain.worker is None
    assert len(hop_routes(asking)) == 1
    assert [each.name for each in asking.worker.rules] == ["r"]


def test_only_rules_that_ask_for_it_go_to_the_worker():
    rules = [
        rule("one", {"a": 7, "b": 3}, matches=[{"model": ["one"]}], cache={}),
        rule("two", ["b"]),
    ]
    result = compiled(rules, BOTH, spec=WORKER)
    assert [each["name"] for each in hop_routes(result)] == ["one", "one"]
    assert [headers_to_add(each)["x-mb-route"] for each in hop_routes(result)] == ["one/0", "one/1"]
    assert headers_to_add(hop_routes(result)[0])["x-mb-consumer"] == "anyone"
    assert clusters(result)["hop"] == ["worker", "bypass"]


def test_what_is_not_a_posted_inference_stays_in_envoy():
    result = compiled([rule("r", ["a"], cache={})], [backend("a")], spec=WORKER)
    [hop] = hop_routes(result)
    assert {each["name"] for each in hop["match"]["headers"]} == {":method", ":path"}
    [path] = [each for each in hop["match"]["headers"] if each["name"] == ":path"]
    assert "messages" in path["string_match"]["safe_regex"]["regex"]
    others = [
        each
        for each in walk(result.envoy)
        if each.get("name") == "r" and _cluster(each).startswith(("chain", "up_"))
    ]
    assert others


def test_consumers_pass_on_who_they_are_and_must_be_allowed_what_is_aggregated():
    consumers = [
        {"name": name, "auth": {"apiKey": {"secretRef": {"name": "k"}}}, "backends": backends}
        for name, backends in {"both": ["a", "b"], "one": ["a"]}.items()
    ]
    aggregate = {"strategy": "All", "backends": ["a", "b"]}
    result = compiled([rule("r", ["a"], aggregate=aggregate)], BOTH, consumers, spec=WORKER)
    [hop] = hop_routes(result)
    assert headers_to_add(hop)["x-mb-consumer"] == "%FILTER_STATE(moltbot.consumer:PLAIN)%"
    scope = json.dumps(hop["typed_per_filter_config"])
    assert '"both"' in scope
    assert '"one"' not in scope
    assert result.worker.rules[0].consumers == ("both",)


def test_a_worker_that_answered_is_not_asked_again():
    [hop] = hop_routes(compiled([rule("r", ["a"], cache={})], BOTH, spec=WORKER))
    policy = hop["route"]["retry_policy"]
    assert policy["num_retries"] == 1
    assert policy["retriable_headers"] == [{"name": "x-mb-fault", "string_match": {"exact": "worker"}}]
    assert "5xx" not in policy["retry_on"]


def test_the_workers_listener_asks_for_the_secret_and_removes_what_is_the_gateways_own():
    result = compiled([rule("r", ["a"], cache={})], BOTH, spec=WORKER)
    listeners = {each["name"]: each for each in result.envoy["static_resources"]["listeners"]}
    manager = listeners["worker"]["filter_chains"][0]["filters"][0]["typed_config"]
    first = manager["http_filters"][0]
    assert first["name"] == "envoy.filters.http.basic_auth"
    assert first["typed_config"]["users"]["filename"] == "/etc/moltbot/worker-secret/users"
    assert "access_log" not in manager
    for name in ("worker", "bypass", "inner"):
        if name in listeners:
            manager = listeners[name]["filter_chains"][0]["filters"][0]["typed_config"]
            removed = manager["route_config"]["virtual_hosts"][0]["request_headers_to_remove"]
            assert {"x-mb-worker-key", "x-mb-rule", "x-mb-backend", "x-mb-consumer"} <= set(removed)
    behind = {_cluster(each) for each in walk(listeners["worker"])}
    assert not behind & {"hop", "worker"}


def test_gateway_and_workers_find_those_of_their_own_revision():
    result = identify(compiled([rule("r", ["a"], cache={})], BOTH, spec=WORKER), {"image": "x"})
    [worker] = [each for each in result.envoy["static_resources"]["clusters"] if each["name"] == "worker"]
    [endpoint] = worker["load_assignment"]["endpoints"][0]["lb_endpoints"]
    socket = endpoint["endpoint"]["address"]["socket_address"]
    assert socket == {"address": f"assistant-worker-{result.revision}.default.svc", "port_value": 8080}
    assert result.worker.gateway.url == f"http://assistant-gw-{result.revision}.default.svc:8090"
    assert result.worker.revision == result.agent.revision == result.revision


def test_workers_on_one_machine_are_found_by_their_addresses():
    files = Files(worker=WorkerFiles(addresses=(WorkerAddress("127.0.0.1", 1, 2),), calls="http://here:3"))
    result = compiled([rule("r", ["a"], cache={})], BOTH, spec=WORKER, files=files)
    [worker] = [each for each in result.envoy["static_resources"]["clusters"] if each["name"] == "worker"]
    assert worker["type"] == "STATIC"
    assert result.worker.gateway.url == "http://here:3"


def test_a_change_of_what_only_workers_are_told_is_another_revision():
    def of(ttl):
        return compiled([rule("r", ["a"], cache={"ttl": ttl})], BOTH, spec=WORKER)

    one, other = of("1m"), of("2m")
    assert one.revision != other.revision
    assert of("1m").revision == one.revision


def test_the_worker_is_told_everything():
    spec = {
        "worker": {
            "store": {"type": "Redis", "url": "redis://redis:6379/0", "secretRef": {"name": "r", "key": "p"}}
        }
    }
    asked = {
        "cache": {"ttl": "1m", "scope": "Route", "warmUp": {"configMapRef": {"name": "templates"}}},
        "coalesce": True,
        "batch": {"window": "7ms", "maxSize": 3},
        "async": {"queue": "slow"},
        "aggregate": {"strategy": "Vote", "backends": ["a", "b", "c"]},
        "failover": {"maxRetries": 1, "stream": {"firstToken": "2s", "stall": "3s", "recover": "Hold"}},
    }
    vllm = backend("c", provider="VLLM", model="c-1")
    result = compiled([rule("r", {"a": 2, "b": 1}, **asked)], [*BOTH, vllm], spec=spec)
    config = WorkerConfig.model_validate_json(result.worker.model_dump_json(by_alias=True))
    [told] = config.rules
    assert [(each.route, each.weight, each.chain) for each in told.choices] == [
        ("r/0", 2, ("a", "b")),
        ("r/1", 1, ("b", "a")),
    ]
    assert {name: each.model for name, each in told.backends.items()} == {"a": "a-1", "b": "b-1", "c": "c-1"}
    assert told.backends["c"].prefill == "ContinueFinalMessage"
    assert (told.cache.ttl, told.cache.scope) == (60, "Route")
    assert str(told.cache.warm_up.files[0]) == "/etc/moltbot/templates/templates"
    assert (told.coalesce, told.batch.window, told.batch.max_size) == (True, 0.007, 3)
    assert told.async_.queue == "slow"
    assert told.aggregate.backends == ("a", "b", "c")
    assert (told.stream.first_token, told.stream.stall, told.stream.recover) == (2, 3, "Hold")
    assert told.first_byte == 2 * 62
    assert (config.store.type, str(config.store.password)) == ("Redis", "/etc/moltbot/store/password")


@pytest.mark.parametrize(
    ("spec", "prefill"),
    [
        ({"provider": "Anthropic"}, "Assistant"),
        ({"provider": "Anthropic", "prefill": "None"}, "None"),
        ({"provider": "OpenAI"}, "None"),
        ({"provider": "OpenAI", "prefill": "Prefix"}, "Prefix"),
    ],
)
def test_how_a_model_goes_on_is_its_providers_way_or_its_own(spec, prefill):
    other = backend("c", model="c-1", **spec)
    guarded = {"failover": {"stream": {"recover": "Continue"}}}
    result = compiled([rule("r", ["c"], ["a"], **guarded)], [*BOTH, other], spec=WORKER)
    [told] = result.worker.rules
    assert told.backends["c"].prefill == prefill


def test_an_aggregate_of_what_is_missing_is_reported_and_left_out():
    aggregate = {"strategy": "All", "backends": ["a", "gone"]}
    result = compiled([rule("r", ["a"], aggregate=aggregate, coalesce=True)], BOTH, spec=WORKER)
    assert "default/gone does not exist" in result.rules[0].problem.message
    assert result.worker.rules[0].aggregate is None


def test_the_secret_differs_between_revisions_and_its_hash_is_all_that_envoy_reads():
    one, other = worker_secret("seed", "one"), worker_secret("seed", "other")
    assert one == worker_secret("seed", "one")
    assert one["key"] != other["key"]
    assert one["webhook"] == other["webhook"]
    assert one["key"].split()[1] not in one["users"]
    assert one["key"] in one["sds.json"]
