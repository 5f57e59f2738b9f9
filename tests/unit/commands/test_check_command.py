import json
import xml.etree.ElementTree as ET

import pytest

ROUTE = """\
apiVersion: moltbot.io/v1alpha1
kind: MoltBotRoute
metadata: {name: r}
spec:
  rules:
  - name: all
    candidates: [{backend: a}]
  - name: late
    candidates: [{backend: a}]
  consumers:
  - {name: anyone, auth: {anonymous: {}}, backends: [a]}
---
apiVersion: moltbot.io/v1alpha1
kind: ModelBackend
metadata: {name: a}
spec: {provider: Custom, endpoint: {url: "https://a.example/v1", tls: {caRef: {name: corp}}}}
"""


def written(folder, name, text):
    file = folder / name
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "files", [["examples/models.config.json"], ["examples/backends.yaml", "examples/assistant.yaml"]]
)
def test_the_examples_are_right(moltbot, files):
    code, out, _ = moltbot("check", *files, "--strict")
    assert code == 0, out
    assert "no errors, no warnings" in out


def test_warnings_are_errors_only_if_one_says_so(moltbot, tmp_path):
    file = written(tmp_path, "r.yaml", ROUTE)
    code, out, _ = moltbot("check", file)
    assert code == 0
    assert f"{file}:8:5: warning: MoltBotRoute default/r: rule late is never reached" in out
    assert moltbot("check", file, "--strict", "--no-envoy")[0] == 1


WRONG = [
    (("backend: a}]", "bakend: a}]"), "7:19", "Unsupported field: remove it or correct its name"),
    (("provider: Custom", "provider: Custm"), "16:8", "spec.provider"),
    (("{backend: a}]\n  - name: late", "{backend: gone}]\n  - name: late"), "6:5", "create it"),
    (("rules:", "rules: ["), "6:3", "this is no YAML"),
    (("v1alpha1", "v1"), "1:1", "write apiVersion: moltbot.io/v1alpha1"),
    ((ROUTE, "a: 1\n"), "1:1", "write objects with apiVersion"),
    ((ROUTE, ROUTE + "---\n" + ROUTE), "20:12", "given twice"),
    (("name: late\n", "name: late\n    matches: [{path: {type: Regex, value: '('}}]\n"), "8:5", "RE2"),
]


@pytest.mark.parametrize(("edit", "place", "said"), WRONG)
def test_a_wrong_file_gives_line_and_column_and_the_remedy(moltbot, tmp_path, edit, place, said):
    file = written(tmp_path, "r.yaml", ROUTE.replace(*edit, 1))
    code, out, err = moltbot("check", file, "--no-envoy")
    assert code == 1
    assert err == ""
    line = next(line for line in out.splitlines() if said in line)
    assert line.startswith(f"{file}:{place}: error: ")


CONFIG = '{"routes": [{"pattern": "^/a/",\n "candidates": [{"model": "m", "weight": 1}]}]}'


@pytest.mark.parametrize(
    ("edit", "place", "said"),
    [
        (("{", "[,"), "1:2", "this is no JSON"),
        ((": 1", ": -1"), "2:32", "write a number"),
        (('"pattern"', '"p": 1, "pattern"'), "1:14", "unknown"),
        (('"routes"', '"a": 1, "a": 2, "routes"'), "", "stands twice"),
    ],
)
def test_a_wrong_config(moltbot, tmp_path, edit, place, said):
    file = written(tmp_path, "models.config.json", CONFIG.replace(*edit, 1))
    code, out, _ = moltbot("check", file)
    assert code == 1
    line = next(line for line in out.splitlines() if said in line)
    assert line.startswith(f"{file}:{place}")
    assert len(out.splitlines()) == 2


def test_other_commands_say_it_too(moltbot, tmp_path):
    file = written(tmp_path, "r.yaml", ROUTE.replace("backend: a}]", "bakend: a}]", 1))
    for command in (("explain", file), ("plan", file, "--against", file)):
        code, _, err = moltbot(*command)
        assert code == 1
        assert f"{file}:7:19: MoltBotRoute default/r: spec.rules[0].candidates[0].bakend" in err


def test_folders_and_what_is_not_ours(moltbot, tmp_path):
    (tmp_path / ".git").mkdir()
    written(tmp_path / ".git", "x.yaml", "a: [")
    written(tmp_path, "values.yaml", "a: 1\n")
    written(tmp_path, "package.json", "{}")
    written(tmp_path, "deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    code, out, _ = moltbot("check", tmp_path)
    assert code == 1
    assert "[NothingToCheck]" in out
    written(tmp_path, "r.yaml", ROUTE)
    assert moltbot("check", tmp_path)[0] == 0
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {key: '*'}\n"
    file = written(tmp_path, "s.yaml", secret)
    code, out, _ = moltbot("check", tmp_path)
    assert code == 1
    assert f"{file}: error: Secret default/s: data.key: this is no base64" in out


def test_envoy_has_the_last_word(moltbot, tmp_path):
    ca = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: corp}\ndata: {ca.crt: junk}\n"
    file = written(tmp_path, "r.yaml", ROUTE + "---\n" + ca)
    code, out, _ = moltbot("check", file)
    assert code == 1
    assert "Envoy refuses what it compiles to" in out
    assert moltbot("check", file, "--no-envoy")[0] == 0


def test_json(moltbot, tmp_path):
    file = written(tmp_path, "r.yaml", ROUTE)
    code, out, _ = moltbot("check", file, "-o", "json", "--no-envoy")
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["reason"], finding["line"]) == (0, "Unreachable", 8)


def test_sarif(moltbot, tmp_path):
    file = written(tmp_path, "r.yaml", ROUTE.replace("bakend", "backend"))
    _, out, _ = moltbot("check", file, "-o", "sarif", "--no-envoy")
    log = json.loads(out)
    (result,) = log["runs"][0]["results"]
    assert log["version"] == "2.1.0"
    assert result["ruleId"] in {each["id"] for each in log["runs"][0]["tool"]["driver"]["rules"]}
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 8, "startColumn": 5}


def test_junit(moltbot, tmp_path):
    right = written(tmp_path, "a.yaml", ROUTE)
    wrong = written(tmp_path, "b.yaml", "a: 1\n")
    code, out, _ = moltbot("check", right, wrong, "-o", "junit", "--no-envoy")
    (suite,) = ET.fromstring(out)  # noqa: S314 - our own
    assert (code, suite.get("tests"), suite.get("failures")) == (1, "2", "1")
    assert [len(case.findall("failure")) for case in suite] == [0, 1]
    assert suite[0].find("system-out") is not None
