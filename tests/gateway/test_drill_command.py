"""`moltbot drill`: a gateway here, a backend that fails, and whether another serves."""

import json
import sys

import pytest
import yaml
from gateway_bed import backend, route, rule

from moltbot_operator import cli


@pytest.fixture
def drill(monkeypatch, capsys, tmp_path):
    def run(*arguments, objects):
        file = tmp_path / "r.yaml"
        flat = [each for given in objects for each in (given if isinstance(given, list) else [given])]
        file.write_text(yaml.safe_dump_all(flat))
        monkeypatch.setattr(sys, "argv", ["moltbot", "drill", str(file), *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


BACKENDS = [
    *backend("a", "https://a.example", secret_name="absent", model="m"),
    *backend("b", "https://b.example"),
]


def test_failover_fires(drill):
    rules = [
        rule("code", {"a": 1, "b": 9}, matches=[{"task": "Code", "path": {"value": "/code"}}]),
        rule("rest", ["b"], ["a"]),
    ]
    code, out, _ = drill("--backend", "a", "-o", "json", objects=[route(*rules), BACKENDS])
    told = json.loads(out)
    assert (code, told["passed"], told["fallbackOnly"]) == (0, True, ["rest"])
    assert [each["fault"] for each in told["trials"]] == ["refuse", "reset", "hang", "429", "500", "503"]
    assert {(each["rule"], each["servedBy"], each["status"]) for each in told["trials"]} == {
        ("code", "default/b", 200)
    }
    assert {each["expectedStatus"] for each in told["trials"]} == {200}


def test_failover_that_does_not_fire_is_1(drill):
    rules = [rule("all", {"a": 1}, ["b"], failover={"retryOn": ["5xx"]})]
    faults = ("--fault", "429", "--fault", "500")
    code, out, _ = drill("--backend", "a", *faults, objects=[route(*rules), BACKENDS])
    assert code == 1
    lines = [line.split() for line in out.splitlines() if "rule all" in line]
    assert [(line[0], line[3], line[4]) for line in lines] == [("NOT", "429", "429"), ("ok", "500", "200")]
    assert "failover.retryOn" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--backend", "c"), 1, "no ModelBackend default/c: choose one of default/a, default/b"),
        (("--backend", "b"), 1, "no rule of default/assistant names ModelBackend default/b"),
        (("--backend", "a", "--fault", "fire"), 2, "'fire' is no fault: choose of refuse"),
        ((), 2, "--backend"),
    ],
)
def test_what_can_not_be_drilled(drill, arguments, code, said):
    found, _, err = drill(*arguments, objects=[route(rule("all", ["a"])), BACKENDS])
    assert found == code
    assert said in err
