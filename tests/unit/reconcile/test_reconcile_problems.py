from typing import Any

import pytest

from moltbot_operator.api import ConfigMapKeyRef, ConsumerAPIKey, ModelBackendSpec
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.kube.kinds import CONFIG_MAP
from moltbot_operator.reconcile.contents import Contents, _contents, flaw
from moltbot_operator.reconcile.problems import (
    backend_places,
    backend_problems,
    consent_problem,
    consumer_problem,
    jwks_problem,
    not_found,
    unsupported,
)

REF = BackendRef("ai", "pro")


def spec(**more: Any) -> ModelBackendSpec:
    return ModelBackendSpec.model_validate(
        {"provider": "Custom", "endpoint": {"url": "https://m.example"}, **more}
    )


KEYED = spec(
    auth={"type": "APIKey", "apiKey": {"secretRef": {"name": "s", "key": "k"}}},
    endpoint={"url": "https://m.example", "tls": {"caRef": {"kind": "Secret", "name": "c", "key": "ca.crt"}}},
)
SECRET, CA = ("Secret", "s"), ("Secret", "c")
GOOD = {
    SECRET: Contents(frozenset({"k"})),
    CA: Contents(frozenset({"ca.crt"}), {"ca.crt": "has line breaks"}),
}


def test_a_backend_names_its_secret_and_its_ca() -> None:
    assert backend_places(KEYED) == [SECRET, CA]
    assert backend_places(spec()) == []


def test_a_sound_backend_has_no_problem() -> None:
    assert backend_problems(REF, KEYED, GOOD) == []
    assert backend_problems(REF, spec(), {}) == []


@pytest.mark.parametrize(
    ("place", "contents", "reason"),
    [
        (SECRET, None, "SecretNotFound"),
        (SECRET, Contents(frozenset({"other"})), "SecretKeyNotFound"),
        (SECRET, Contents(frozenset({"k"}), {"k": "is empty"}), "SecretValueUnusable"),
        (CA, None, "SecretNotFound"),
        (CA, Contents(frozenset()), "SecretKeyNotFound"),
    ],
)
def test_what_is_missing_is_named_with_object_key_and_remedy(
    place: tuple[str, str], contents: Any, reason: str
) -> None:
    (problem,) = backend_problems(REF, KEYED, {**GOOD, place: contents})
    assert problem.reason == reason
    assert "ModelBackend ai/pro" in problem.message
    assert f"Secret ai/{place[1]}" in problem.message
    assert ":" in problem.message


def test_a_consumer_needs_one_usable_key() -> None:
    api_key = ConsumerAPIKey.model_validate({"secretRef": {"name": "s"}})

    def reason(contents: Contents | None) -> str | None:
        problem = consumer_problem("app", api_key, "n", contents)
        return problem and problem.reason

    assert reason(Contents(frozenset({"a"}))) is None
    assert reason(None) == "SecretNotFound"
    assert reason(Contents(frozenset())) == "SecretKeyNotFound"
    assert reason(Contents(frozenset({"a", "b"}), {"b": "is empty"})) == "SecretValueUnusable"


def test_a_consumer_with_tokens_needs_a_jwks() -> None:
    reference = ConfigMapKeyRef(name="keys", key="jwks.json")

    def reason(contents: Contents | None) -> str | None:
        problem = jwks_problem("web", reference, "ai", contents)
        return problem and problem.reason

    assert reason(None) == "ConfigMapNotFound"
    assert reason(Contents(frozenset())) == "ConfigMapKeyNotFound"
    assert reason(Contents(frozenset({"jwks.json"}))) is None
    assert reason(Contents(frozenset({"jwks.json"}), no_jwks={"other": "is not JSON"})) is None
    unusable = jwks_problem(
        "web", reference, "ai", Contents(frozenset({"jwks.json"}), no_jwks={"jwks.json": "is not JSON"})
    )
    assert unusable is not None
    assert unusable.reason == "JWKSUnusable"
    assert "consumers[web]" in unusable.message
    assert "ConfigMap ai/keys is not JSON" in unusable.message


def test_a_config_maps_values_are_looked_at_as_jwks() -> None:
    manifest = {"data": {"a": "x", "b": '{"keys": []}'}, "binaryData": {"c": "/w=="}}
    contents = _contents(CONFIG_MAP, manifest)
    assert contents.keys == {"a", "b", "c"}
    assert contents.no_jwks.keys() == {"a", "b", "c"}
    assert contents.flaws == {}


def test_consent() -> None:
    def refused(namespace: str, labels: dict[str, str], **allowed: Any) -> bool:
        return consent_problem(REF, spec(**allowed), namespace, labels) is not None

    assert not refused("ai", {})
    assert refused("shop", {})
    assert not refused("shop", {}, allowedRoutes={"namespaces": "All"})
    team = {"namespaces": "Selector", "selector": {"matchLabels": {"team": "a"}}}
    assert refused("shop", {"team": "b"}, allowedRoutes=team)
    assert not refused("shop", {"team": "a"}, allowedRoutes=team)


def test_a_missing_backend_is_named() -> None:
    assert "ai/pro" in not_found(REF).message


def test_unsupported_fields_are_all_named() -> None:
    assert unsupported([]) is None
    one, two = unsupported(["rotation"]), unsupported(["worker", "spec.gateway.tls"])
    assert one is not None
    assert one.message.startswith("spec.rotation is not implemented")
    assert two is not None
    assert two.message.startswith("spec.gateway.tls, spec.worker are not implemented")


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("c2VjcmV0", ""),
        ("c2VjcmV0Cg==", ""),
        ("c2VjcmV0DQo=", ""),
        ("", "is empty"),
        ("Cg==", "is empty"),
        ("YQpi", "line break"),
        ("YQA=", "can't carry"),
        ("w7w=", "can't carry"),
        ("%%%", "is not base64"),
    ],
)
def test_values_that_no_header_can_carry(encoded: str, expected: str) -> None:
    assert expected in flaw(encoded)
    assert bool(flaw(encoded)) == bool(expected)
