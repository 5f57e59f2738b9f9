import json
from pathlib import Path

import pytest

CONFIG = Path("examples/models.config.json")


def test_there_and_back(moltbot, tmp_path):
    assert moltbot("convert", CONFIG, "-o", tmp_path / "out")[0] == 0
    code, out, _ = moltbot("convert", "--back", tmp_path / "out")
    assert code == 0
    assert json.loads(out) == json.loads(CONFIG.read_text())
    code, out, _ = moltbot("convert", "--back", tmp_path / "out", "-o", tmp_path / "back.json")
    assert (code, out) == (0, "")
    assert json.loads((tmp_path / "back.json").read_text()) == json.loads(CONFIG.read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((CONFIG, CONFIG), "--back"),
        ((CONFIG, "--back", "-n", "x"), "no namespaces"),
    ],
)
def test_wrong_usage(moltbot, arguments, said):
    code, _, err = moltbot("convert", *arguments)
    assert code == 2
    assert said in err


def test_what_a_config_can_not_say(moltbot):
    code, _, err = moltbot("convert", "--back", "examples/assistant.yaml", "examples/backends.yaml")
    assert code == 1
    assert "a models.config.json needs one path of type Regex here: write one" in err


def test_a_wrong_file_gives_line_and_column(moltbot, tmp_path):
    file = tmp_path / "models.config.json"
    file.write_text('{"routes": [\n  {"pattern": "^/a/", "candidates": [{"model": "m", "weight": "x"}]}]}')
    code, _, err = moltbot("convert", file)
    assert code == 1
    assert err.startswith(f"error: {file}:2:53: routes[0].candidates[0].weight: write a number")
    file.write_text("apiVersion: moltbot.io/v1alpha1\nkind: MoltBotRoute\nspec: {}\n")
    manifest = tmp_path / "r.yaml"
    manifest.write_text(file.read_text())
    code, _, err = moltbot("convert", "--back", manifest)
    assert code == 1
    assert f"{manifest}:3:1: MoltBotRoute" in err


def test_where_nothing_can_be_written(moltbot, tmp_path):
    assert moltbot("convert", CONFIG, "-o", tmp_path / "out")[0] == 0
    code, _, err = moltbot("convert", "--back", tmp_path / "out", "-o", tmp_path)
    assert code == 1
    assert "can't be written" in err
