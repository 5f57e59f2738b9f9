from dataclasses import replace
from pathlib import Path

import pytest
from compile_given import backend, compiled, rule

from moltbot_operator.compile import Files, Problem, compile_route
from moltbot_operator.serve import files as serve_files


def reasons(*given, **more):
    return [each.reason for each in compiled(*given, **more).warnings]


def keyed(name, *backends):
    return {"name": name, "auth": {"apiKey": {"secretRef": {"name": name}}}, "backends": list(backends)}


AB = [backend("a"), backend("b")]


def test_nothing_to_say():
    assert reasons([rule("r", ["a"], ["b"])], AB) == []


def test_retries_that_do_not_reach_the_last_fallback():
    result = compiled([rule("r", ["a"], ["b"], failover={"maxRetries": 0})], AB)
    assert [each.reason for each in result.warnings] == ["RetriesTooFew"]
    assert "maxRetries: 1" in result.warnings[0].message


def test_rules_behind_one_that_takes_everything():
    rules = [rule("all", ["a"]), rule("late", ["a"], matches=[{"model": ["m"]}]), rule("later", ["b"])]
    result = compiled(rules, AB)
    assert [each.reason for each in result.warnings] == ["Unreachable", "Unreachable"]
    assert "late" in result.warnings[0].message


def test_rules_with_the_same_matches():
    match = [{"path": {"type": "Prefix", "value": "/a"}}]
    assert reasons([rule("x", ["a"], matches=match), rule("y", ["b"], matches=match)], AB) == ["Unreachable"]
    more = [*match, {"path": {"type": "Prefix", "value": "/b"}}]
    assert reasons([rule("x", ["a"], matches=match), rule("y", ["b"], matches=more)], AB) == []


def test_nobody_may_use_the_route():
    assert reasons([rule("r", ["a"])], AB, []) == ["NoConsumers"]


def test_scopes_that_allow_nothing():
    assert reasons([rule("r", ["a", "b"])], AB, [keyed("web", "a")]) == ["ConsumerScopeEmpty"]
    assert reasons([rule("r", ["a"])], AB, [keyed("web")]) == ["ConsumerScopeEmpty"]
    assert reasons([rule("r", ["a"])], AB, [keyed("web", "a")]) == []


def test_scopes_with_missing_backends_and_secrets():
    found = reasons(
        [rule("r", ["a"])],
        AB,
        [keyed("web", "a", "gone")],
        problems={"web": Problem("SecretNotFound", "no Secret: make one")},
    )
    assert found == ["ConsumerNotUsable", "BackendNotFound"]


C = backend("c")
ANYONE = [{"name": "anyone", "auth": {"anonymous": {}}, "backends": ["a", "b"]}]


@pytest.mark.parametrize(
    ("failover", "fallback", "expected", "remedy"),
    [
        ({"retryOn": []}, ["b"], ["RetryNever"], "write e.g. [ConnectFailure, 5xx]"),
        ({"retryOn": []}, [], [], ""),
        ({"retryOn": ["5xx"], "maxRetries": 0}, [], ["RetryNever"], "write maxRetries: 1"),
        ({"maxRetries": 0}, [], [], ""),
        ({"retryOn": ["401"]}, [], ["RetryNever"], "give the rule a fallback"),
        ({"retryOn": ["401"]}, ["b"], [], ""),
        ({"retryOn": ["ConnectFailure"], "perTryTimeout": "5s"}, ["b"], ["RetryNever"], "add that"),
        ({"retryOn": ["ConnectFailure"], "perTryTimeout": "6s"}, ["b"], [], ""),
        ({"retryOn": ["ConnectFailure", "PerTryTimeout"], "perTryTimeout": "1s"}, ["b"], [], ""),
        ({"retryOn": ["ConnectFailure", "5xx"], "perTryTimeout": "1s"}, ["b"], [], ""),
        ({"maxRetries": 0}, ["b"], ["RetriesTooFew"], "write failover.maxRetries: 1"),
    ],
)
def test_failover_that_can_have_no_effect(failover, fallback, expected, remedy):
    consumers = ANYONE if fallback else [{**ANYONE[0], "backends": ["a"]}]
    result = compiled([rule("r", ["a"], fallback, failover=failover)], AB, consumers)
    assert [each.reason for each in result.warnings] == expected
    assert remedy in "".join(each.message for each in result.warnings)


def test_a_candidate_that_rests_for_ever():
    none = {"maxRetries": 0}
    assert reasons([rule("r", {"a": 1, "b": 0}, failover=none)], AB, ANYONE) == ["RetriesTooFew"]
    assert reasons([rule("r", {"a": 1, "b": 0})], AB, ANYONE) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, ["SameBackend"]),
        ({"model": "m"}, {"model": "m"}, ["SameBackend"]),
        ({"model": "m"}, {"model": "n"}, []),
        ({"secret": "s"}, {"secret": "s"}, ["SameBackend"]),
        ({"secret": "s"}, {"secret": "t"}, []),  # another account has limits of its own
        ({}, {"endpoint": {"url": "https://h/v2"}}, []),
        ({}, {"endpoint": {"url": "https://h"}}, ["SameBackend"]),
        ({}, {"endpoint": {"url": "http://h"}}, []),
    ],
)
def test_the_same_backend_under_two_names(one, other, expected):
    made = [backend("a", **{"endpoint": {"url": "https://h/v1"}, **one})]
    made.append(backend("b", **{"endpoint": {"url": "https://h/v1"}, **other}))
    assert reasons([rule("r", ["a"], ["b"])], made) == expected
    assert reasons([rule("r", ["a", "b"])], made) == expected


def test_a_rule_that_nobody_may_use():
    rules = [rule("open", ["a"], matches=[{"model": ["m"]}]), rule("shut", ["a"], ["b"])]
    result = compiled(rules, AB, [keyed("web", "a")])
    assert [each.reason for each in result.warnings] == ["RuleOutOfScope"]
    assert "rule shut" in result.warnings[0].message
    assert "a, b" in result.warnings[0].message


def test_a_scope_with_a_backend_that_no_rule_uses():
    result = compiled([rule("r", ["a"], ["b"])], [*AB, C], [keyed("web", "a", "b", "c")])
    assert [each.reason for each in result.warnings] == ["ScopeUnused"]
    assert "default/c" in result.warnings[0].message


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"maxPendingRequests": 5}, ["LimitNever"]),
        ({"maxPendingRequests": 5, "maxConnections": 5}, []),
        ({"requestsPerSecond": 1, "burst": 2}, []),
        ({"requestsPerSecond": 1, "burst": 1}, ["BreakerNever"]),
        ({"maxConnections": 1}, []),
    ],
)
def test_limits_and_breakers_that_never_take_effect(limits, expected):
    """Within 10 s pass 10 requests and the burst; the breaker wants 12."""
    given = [backend("a", limits=limits, circuitBreaker={"minimumRequests": 12, "interval": "10s"})]
    assert reasons([rule("r", ["a"])], given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"provider": "OpenAI", "endpoint": None}, ["CredentialUnusual"]),
        ({"provider": "OpenAI", "endpoint": None, "secret": "s"}, []),
        ({"provider": "OpenAI", "endpoint": {"url": "https://proxy.example"}}, []),
        ({"provider": "Ollama"}, []),
        ({"provider": "VLLM"}, []),
    ],
)
def test_a_credential_that_the_provider_does_not_take(given, expected):
    assert reasons([rule("r", ["a"])], [backend("a", **given)]) == expected


def test_the_examples_have_no_mistake():
    folder = Path(__file__).parents[3] / "examples"
    read = serve_files.read([folder / "assistant.yaml", folder / "backends.yaml"])
    given = read.sources("assistant", {}, Files())
    keyed_backends = {ref: replace(source, problem=None) for ref, source in given.backends.items()}
    keyed_consumers = {name: replace(source, problem=None) for name, source in given.consumers.items()}
    found = compile_route(replace(given, backends=keyed_backends, consumers=keyed_consumers)).warnings
    assert [each.message for each in found] == []


def test_more_credentials_than_linux_lets_envoy_watch():
    names = [f"b{number}" for number in range(101)]
    rules = [rule(name, [name], matches=[{"model": [name]}]) for name in names]
    shared = [backend(name, secret="one") for name in names]
    assert reasons(rules, shared) == []
    own = [backend(name, secret=name) for name in names]
    assert reasons(rules, own) == ["ManyCredentials"]


def tokened(name, **jwt):
    given = {"issuer": "i", "jwks": {"configMapRef": {"name": "keys", "key": "jwks.json"}}, **jwt}
    return {"name": name, "auth": {"jwt": given}, "backends": ["a"]}


def test_consumers_whose_tokens_an_earlier_one_takes():
    def found(*consumers):
        return reasons([rule("r", ["a"])], AB, list(consumers))

    narrow = {"claims": {"azp": "web"}, "audiences": ["gw"]}
    assert found(tokened("x"), tokened("y")) == ["ConsumerUnreachable"]
    assert found(tokened("x", **narrow), tokened("y", **narrow)) == ["ConsumerUnreachable"]
    assert found(tokened("x"), tokened("y", **narrow)) == ["ConsumerUnreachable"]
    assert found(tokened("x", **narrow), tokened("y")) == []
    assert found(tokened("x", **narrow), tokened("y", claims={"azp": "web"})) == []
    assert found(tokened("x", audiences=["a", "b"]), tokened("y", audiences=["a"])) == ["ConsumerUnreachable"]
    assert found(tokened("x", audiences=["a"]), tokened("y", audiences=["a", "b"])) == []
    assert found(tokened("x"), tokened("y", issuer="j"), keyed("z", "a")) == []


@pytest.mark.parametrize("host", ["127.0.0.1:9901", "localhost:4318", "[::1]:4318", "169.254.169.254"])
def test_a_collector_in_the_gateways_own_pod_gets_nothing(host):
    audit = {"destination": "OTLP", "otlp": {"url": f"http://{host}/v1/logs"}}
    result = compiled([rule("r", ["a"], ["b"])], AB, spec={"audit": audit})
    assert [each.reason for each in result.warnings] == ["Loop"]
    assert "audit.otlp.url" in result.warnings[0].message
    written = str(result.envoy)
    assert "/v1/logs" not in written
    assert "StdoutAccessLog" in written
    allowed = compiled([rule("r", ["a"], ["b"])], AB, spec={"audit": audit}, files=Files(loopback=True))
    assert allowed.warnings == ()
    assert f"http://{host}/v1/logs" in str(allowed.envoy)


def test_places_of_keys_that_are_doubtful():
    one = tokened("x", jwks={"url": "http://a.example/keys"})
    assert reasons([rule("r", ["a"])], AB, [one]) == ["JWKSNotEncrypted"]
    other = tokened("y", jwks={"url": "https://a.example/keys"}, claims={"a": "b"})
    assert reasons([rule("r", ["a"])], AB, [tokened("x"), other]) == ["IssuerKeysDiffer"]
    here = tokened("x", jwks={"url": "https://169.254.169.254/keys"})
    result = compiled([rule("r", ["a"])], AB, [here])
    assert [each.reason for each in result.warnings] == ["Loop"]
    assert "169.254.169.254" not in str(result.envoy) + str(result.agent.verifier)
