from compile_given import backend, compiled, rule, walk

AB = [backend("a", model="a-v1"), backend("b")]


OURS = {"AutoNeedsModel", "NothingToChoose", "Unreachable"}


def reasons(*given):
    return [each.reason for each in compiled(*given).warnings if each.reason in OURS]


def models_of_tasks(rules, backends):
    found = [each["tasks"]["models"] for each in walk(compiled(rules, backends).envoy) if "tasks" in each]
    return found[0] if found else None


def test_auto_where_a_backend_has_no_model():
    auto = [{"model": ["auto"]}]
    result = compiled([rule("r", ["a"], ["b"], matches=auto)], AB)
    assert [each.reason for each in result.warnings] == ["AutoNeedsModel"]
    assert "at b:" in result.warnings[0].message
    assert reasons([rule("r", ["a"], matches=auto)], AB) == []
    assert reasons([rule("r", ["b"], matches=[{"model": ["x"]}])], AB) == []


def test_choosing_by_latency_among_one():
    assert reasons([rule("r", ["a"], ["b"], selection="LowestLatency")], AB) == ["NothingToChoose"]
    assert reasons([rule("r", {"a": 1, "b": 0}, selection="LowestLatency")], AB) == ["NothingToChoose"]
    assert reasons([rule("r", ["a", "b"], selection="LowestLatency")], AB) == []


def test_a_model_tells_the_task_if_all_that_serve_it_can_do_nothing_else():
    backends = [
        backend("a", model="shared", capabilities=["Code"]),
        backend("b", model="shared", capabilities=["Code", "Dialog"]),
        backend("c", model="mine", capabilities=["Code"]),
        backend("d", model="talk", capabilities=["Dialog"]),
        backend("e"),
    ]
    rules = [rule("r", ["a", "b", "c", "d", "e"], matches=[{"task": "Code"}])]
    assert models_of_tasks(rules, backends) == {"a": "Code", "c": "Code", "mine": "Code"}


def test_routes_without_tasks_have_none_of_it():
    assert models_of_tasks([rule("r", ["a"])], AB) is None


def test_a_rule_by_task_is_not_taken_for_one_that_takes_everything():
    assert reasons([rule("code", ["a"], matches=[{"task": "Code"}]), rule("rest", ["b"])], AB) == []
