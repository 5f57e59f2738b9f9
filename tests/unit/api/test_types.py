"""What the types give, write and keep; what they refuse is in test_bad_input.py."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from moltbot_operator import api
from moltbot_operator.api import (
    AllowedNamespaces,
    AuthType,
    Candidate,
    Failover,
    LabelSelector,
    ModelBackend,
    ModelBackendSpec,
    MoltBotRoute,
    ObjectMeta,
    RetryCondition,
    Rule,
    StreamGuard,
)

ROUTE = {
    "apiVersion": "moltbot.io/v1alpha1",
    "kind": "MoltBotRoute",
    "metadata": {"name": "assistant", "managedFields": [], "generation": 3},
    "spec": {"rules": [{"name": "tech", "candidates": [{"backend": "dialog-pro"}]}]},
}


def test_everything_listed_is_there() -> None:
    assert [name for name in api.__all__ if not hasattr(api, name)] == []
    assert len(set(api.__all__)) == len(api.__all__)


def test_defaults_of_a_backend() -> None:
    spec = ModelBackendSpec.model_validate({"provider": "OpenAI"})
    assert spec.auth.type is AuthType.NONE
    assert spec.timeouts.connect == timedelta(seconds=5)
    assert spec.timeouts.first_byte == timedelta(seconds=60)
    assert spec.timeouts.idle == timedelta(minutes=5)
    assert spec.allowed_routes.namespaces is AllowedNamespaces.SAME
    assert spec.model is None
    assert spec.circuit_breaker is None


def test_defaults_of_a_route() -> None:
    route = MoltBotRoute.model_validate(ROUTE)
    (rule,) = route.spec.rules
    assert rule.candidates[0].weight == 1
    assert rule.failover.max_retries == 3
    assert rule.failover.backoff.base == timedelta(milliseconds=100)
    assert rule.failover.backoff.max == timedelta(seconds=2)
    assert rule.failover.retry_on == (
        RetryCondition.CONNECT_FAILURE,
        RetryCondition.RESET,
        RetryCondition.SERVER_ERROR,
        RetryCondition.TOO_MANY_REQUESTS,
        RetryCondition.PER_TRY_TIMEOUT,
    )
    assert route.spec.consumers == ()
    assert route.spec.gateway.service.port == 80
    assert route.metadata.namespace == "default"
    assert route.metadata.generation == 3


def test_what_is_given_is_written_again() -> None:
    route = MoltBotRoute.model_validate(ROUTE)
    assert route.model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"] == ROUTE["spec"]


def test_attributes_and_fields_have_both_names() -> None:
    given = {"name": "a", "candidates": [{"backend": "b"}], "async": {"queue": "slow"}}
    rule = Rule.model_validate(given)
    assert rule.async_ is not None
    assert rule == Rule(name="a", candidates=(Candidate(backend="b"),), async_=rule.async_)
    assert rule.model_dump(mode="json", by_alias=True, exclude_unset=True) == given


def test_objects_are_frozen() -> None:
    route = MoltBotRoute.model_validate(ROUTE)
    with pytest.raises(ValidationError, match="frozen"):
        route.spec.rules[0].name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("written", [[429], ["429"], [429, "429"]])
def test_a_status_code_may_be_a_number(written: list[object]) -> None:
    failover = Failover.model_validate({"retryOn": written})
    assert failover.retry_on == (RetryCondition.TOO_MANY_REQUESTS,)
    assert failover.model_dump(mode="json", by_alias=True, exclude_unset=True) == {"retryOn": ["429"]}


@pytest.mark.parametrize("written", [[True], [4.29], [None], ["timeout"], [{}]])
def test_an_unknown_retry_condition_lists_the_known_ones(written: list[object]) -> None:
    with pytest.raises(
        ValidationError, match="ConnectFailure, Reset, 5xx, 429, PerTryTimeout, 401, 403, ContextLength"
    ):
        Failover.model_validate({"retryOn": written})


def test_a_stream_guard_has_its_own_defaults() -> None:
    assert Failover.model_validate({"stream": {}}).stream == StreamGuard()


def test_metadata_keeps_what_is_used_and_drops_the_rest() -> None:
    assert ObjectMeta.model_validate({"name": "a", "selfLink": "x", "labels": {"a": "b"}}).labels == {
        "a": "b"
    }


def test_a_status_from_a_newer_version_is_read() -> None:
    backend = ModelBackend.model_validate(
        {
            "metadata": {"name": "a"},
            "spec": {"provider": "OpenAI"},
            "status": {"observedGeneration": 2, "later": True, "conditions": []},
        }
    )
    assert backend.status.observed_generation == 2


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "a", "x": "y"}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "b"}, False),
        ({"matchLabels": {"team": "a"}}, {}, False),
        (
            {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]},
            {"team": "b"},
            True,
        ),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, {"team": "b"}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, {"team": "a"}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, {"team": ""}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, {"team": ""}, False),
    ],
)
def test_label_selectors(selector: dict[str, object], labels: dict[str, str], selected: bool) -> None:
    assert LabelSelector.model_validate(selector).selects(labels) is selected


@pytest.mark.parametrize("quantity", ["500m", "1Gi", 2, "0.5", "1e3", "100n"])
def test_quantities(quantity: object) -> None:
    assert api.Resources.model_validate({"limits": {"cpu": quantity}}).limits == {"cpu": str(quantity)}


@pytest.mark.parametrize("quantity", ["1 Gi", -1, True, 0.5, "", "1GB", "1" * 40])
def test_no_quantities(quantity: object) -> None:
    with pytest.raises(ValidationError, match="write a quantity such as 500m, 2, 512Mi or 1Gi"):
        api.Resources.model_validate({"limits": {"cpu": quantity}})
