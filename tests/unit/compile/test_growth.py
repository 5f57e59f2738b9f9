"""The configuration grows with the number of rules and backends, never with their product."""

import orjson
from compile_given import backend, clusters, compiled, rule


def made(count):
    names = [f"b{number}" for number in range(count)]
    rules = [
        rule(
            f"r{number}",
            {names[number]: 70, names[(number + 1) % count]: 30},
            [names[(number + 2) % count]],
            matches=[{"path": {"type": "Regex", "value": f"^/t{number}/"}, "model": [f"m{number}"]}],
        )
        for number in range(count)
    ]
    return compiled(rules, [backend(name, model=f"{name}-v1", secret=name) for name in names])


def test_growth_is_linear():
    small, large = made(100), made(1000)
    assert len(clusters(large)) == 10 * len(clusters(small))
    sizes = [len(orjson.dumps(each.envoy)) for each in (small, large)]
    assert sizes[1] < 10.5 * sizes[0]


def test_a_shared_fallback_costs_one_cluster():
    backends = [backend(f"b{number}") for number in range(50)] + [backend("backup")]
    rules = [rule(f"r{n}", [f"b{n}"], ["backup"], matches=[{"model": [f"m{n}"]}]) for n in range(50)]
    names = list(clusters(compiled(rules, backends)))
    assert len([name for name in names if name.startswith("x_")]) == 1
