from compile_given import backend, compiled, rule

from moltbot_operator.compile import Problem


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


def test_more_credentials_than_linux_lets_envoy_watch():
    names = [f"b{number}" for number in range(101)]
    rules = [rule(name, [name], matches=[{"model": [name]}]) for name in names]
    shared = [backend(name, secret="one") for name in names]
    assert reasons(rules, shared) == []
    own = [backend(name, secret=name) for name in names]
    assert reasons(rules, own) == ["ManyCredentials"]
