import json

import pytest

EXAMPLES = ("examples/backends.yaml", "examples/assistant.yaml")


@pytest.fixture
def changed(tmp_path):
    from pathlib import Path

    file = tmp_path / "assistant.yaml"
    file.write_text(Path("examples/assistant.yaml").read_text().replace("weight: 70", "weight: 50"))
    return file


def against(*files):
    return [word for file in files for word in ("--against", file)]


def test_nothing_changes(moltbot):
    code, out, _ = moltbot("plan", *EXAMPLES, *against(*EXAMPLES), "--detailed-exit-code")
    assert code == 0
    assert out == "route default/assistant\n  nothing changes\n"


def test_a_change_is_told_and_is_3_if_one_asks(moltbot, changed):
    files = ("examples/backends.yaml", changed)
    code, out, _ = moltbot("plan", *files, *against(*EXAMPLES))
    assert code == 0
    assert (
        "~ rule dialog: first attempts: gpt-4o 70 %, gpt-4o-azure 30 % → gpt-4o 62.5 %, gpt-4o-azure 37.5 %"
        in out
    )
    assert moltbot("plan", *files, *against(*EXAMPLES), "--detailed-exit-code")[0] == 3


def test_json(moltbot, changed):
    code, out, _ = moltbot("plan", "examples/backends.yaml", changed, *against(*EXAMPLES), "-o", "json")
    told = json.loads(out)
    assert (code, told["changed"], told["routes"][0]["route"]) == (0, True, "default/assistant")
    assert told["routes"][0]["requests"][0]["after"]["rule"] == "dialog"


def test_a_route_that_is_new_and_one_that_goes(moltbot):
    config = "examples/models.config.json"
    code, out, _ = moltbot("plan", config, *against(*EXAMPLES), "-n", "team")
    assert code == 0
    assert "- route assistant" in out
    assert "+ route models" in out
    assert "route team/models" in out
    code, _, err = moltbot("plan", config, *against(config), "--route", "x")
    assert code == 1
    assert "no MoltBotRoute x" in err


def test_a_cluster_out_of_reach(moltbot, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    code, _, err = moltbot("plan", *EXAMPLES)
    assert code == 1
    assert "no way to the API server" in err
