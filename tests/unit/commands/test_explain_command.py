import json

import pytest

EXAMPLES = ("examples/backends.yaml", "examples/assistant.yaml")
CONFIG = "examples/models.config.json"


def test_text_for_people(moltbot):
    code, out, _ = moltbot("explain", CONFIG, "--path", "/tech/v1/chat/completions", "--model", "auto")
    assert code == 0
    assert "rule tech takes it" in out
    assert "dialog-pro  70 %" in out


def test_json_for_programs(moltbot):
    code, out, _ = moltbot("explain", *EXAMPLES, "--consumer", "web-app", "--model", "gpt-4o", "-o", "json")
    told = json.loads(out)
    assert (code, told["rule"], told["match"]) == (0, "dialog", None)
    assert told["candidates"][0]["chance"] == 0.7
    assert any("Secret default/openai" in each for each in told["assumed"])


def test_header_task_body_and_a_folder(moltbot, tmp_path):
    body = tmp_path / "body.txt"
    body.write_text('{"messages": [], "model": "gpt-4o"}')
    more = ("--consumer", "web-app", "--body", body, "-o", "json")
    code, out, _ = moltbot(
        "explain", "examples/assistant.yaml", "examples/backends.yaml", "--task", "Code", *more
    )
    assert (code, json.loads(out)["rule"]) == (0, "code")
    code, out, _ = moltbot("explain", *EXAMPLES, "-H", "x-channel=beta", *more)
    assert (code, json.loads(out)["rule"]) == (0, "beta")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--path", "tech"), "begins with /"),
        (("--header", "x"), "NAME=VALUE"),
        (("--body", "f", "--model", "m"), "leave --model out"),
        (("-o", "yaml"), "yaml"),
    ],
)
def test_wrong_usage_is_2(moltbot, arguments, said):
    code, _, err = moltbot("explain", CONFIG, *arguments)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent.yaml",), "absent.yaml: can't be read"),
        (("examples/backends.yaml",), "no MoltBotRoute"),
        ((CONFIG, "--consumer", "x"), "no consumer x"),
        ((CONFIG, "--route", "x"), "choose one of default/models"),
        ((CONFIG, "--body", "README.md"), "README.md: can't be read as JSON"),
        (("docs/decisions",), "has no .yaml"),
    ],
)
def test_what_can_not_be_told_is_1(moltbot, arguments, said):
    code, _, err = moltbot("explain", *arguments)
    assert code == 1
    assert said in err


def test_a_rule_of_workers_is_explained_too(moltbot):
    code, out, _ = moltbot("explain", "examples/one-machine.yaml", "--path", "/v1/chat/completions")
    assert code == 0
    assert "local  100 %" in out
    assert 'through a worker, if one is up: async {"queue": "default"}, cache {"ttl": "10m",' in out
    _, out, _ = moltbot("explain", "examples/one-machine.yaml", "--path", "/v1/responses")
    assert "through a worker" not in out


@pytest.mark.parametrize(("path", "api"), [("/v1/chat/completions", "OpenAI"), ("/v1/messages", "Anthropic")])
def test_a_request_that_is_translated_is_explained(moltbot, path, api):
    code, out, _ = moltbot("explain", "examples/translation.yaml", "--path", path)
    assert code == 0
    assert f"through a worker, if one is up: translation from {api}'s API\n" in out
