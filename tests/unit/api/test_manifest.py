import re

import pytest

from moltbot_operator.api import ModelBackend, MoltBotRoute, parse_manifest, read_manifests
from moltbot_operator.errors import InvalidInput

TWO = """
apiVersion: moltbot.io/v1alpha1
kind: ModelBackend
metadata: {name: a}
spec: {provider: OpenAI, model: gpt-4o}
---
---
apiVersion: moltbot.io/v1alpha1
kind: MoltBotRoute
metadata: {name: r, annotations: {since: 2026-11-23}}
spec:
  rules:
  - {name: all, candidates: [{backend: a}], failover: {retryOn: [429]}}
"""


def test_a_stream_of_both_kinds() -> None:
    backend, route = read_manifests(TWO, "two.yaml")
    assert isinstance(backend, ModelBackend)
    assert isinstance(route, MoltBotRoute)
    assert route.metadata.annotations == {"since": "2026-11-23"}


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"kind": "MoltBotRoute"},
        {"apiVersion": "moltbot.io/v1alpha1", "kind": "Pod"},
        {"apiVersion": "v1", "kind": []},
    ],
)
def test_other_kinds_are_refused(manifest: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="kind: ModelBackend or MoltBotRoute"):
        parse_manifest(manifest)


def test_every_fault_has_a_line_with_object_field_and_remedy() -> None:
    wrong = TWO.replace("provider: OpenAI", "provider: openai, modell: x").replace("name: all, ", "")
    with pytest.raises(InvalidInput) as refused:
        read_manifests(wrong, "two.yaml")
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("two.yaml: ModelBackend default/a: spec.provider: Input should be 'OpenAI'")
    assert (
        lines[1]
        == "two.yaml: ModelBackend default/a: spec.modell: Unsupported field: remove it or correct its name"
    )


def test_a_wrong_rule_is_not_also_told_as_too_few_rules() -> None:
    wrong = TWO.replace("failover: {retryOn: [429]}", "retries: 3")
    with pytest.raises(InvalidInput) as refused:
        read_manifests(wrong, "two.yaml")
    [line] = str(refused.value).splitlines()
    assert "spec.rules[0].retries: Unsupported field" in line
    with pytest.raises(InvalidInput, match=r"spec\.rules: Tuple should have at least 1 item"):
        read_manifests(re.sub(r"rules:\n.*", "rules: []", TWO), "two.yaml")


@pytest.mark.parametrize("metadata", [None, "a", {}])
def test_an_object_without_a_name_is_refused(metadata: object) -> None:
    manifest = {"apiVersion": "moltbot.io/v1alpha1", "kind": "ModelBackend", "metadata": metadata}
    with pytest.raises(InvalidInput, match=r"ModelBackend default/\(without a name\): metadata"):
        parse_manifest(manifest)


def test_checks_name_their_field() -> None:
    manifest = {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "ModelBackend",
        "metadata": {"name": "a", "namespace": "models"},
        "spec": {"provider": "Custom"},
    }
    with pytest.raises(
        InvalidInput, match=r"ModelBackend models/a: spec\.endpoint: this provider has no public"
    ):
        parse_manifest(manifest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "f.yaml: this is no YAML"),
        ("text", "f.yaml: write objects"),
        ("- a", "f.yaml: write objects"),
    ],
)
def test_what_is_no_object_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_manifests(text, "f.yaml")
