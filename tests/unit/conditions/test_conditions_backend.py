from itertools import product

import pytest

from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions import BackendFacts, Reason, Statement, backend_conditions
from moltbot_operator.objectives import Verdict

REFUSED = Problem("NotSupportedYet", "spec.rotation is not implemented by this version")
NO_SECRET = Problem("SecretNotFound", "Secret a/b does not exist: create it.")
NO_CA = Problem("ConfigMapNotFound", "ConfigMap a/ca does not exist: create it.")


def by_type(**facts: object) -> dict[str, Statement]:
    given = {"refused": None, "unresolved": (), "needs_credential": True, "objectives": None, **facts}
    return {str(s.type): s for s in backend_conditions(BackendFacts(**given))}  # type: ignore[arg-type]


def test_a_sound_backend() -> None:
    found = by_type()
    assert {kind: s.status for kind, s in found.items()} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
        "CredentialReady": "True",
        "ObjectivesMet": "Unknown",
        "Ready": "True",
    }
    assert found["CredentialReady"].reason is Reason.CREDENTIAL_READY
    assert by_type(needs_credential=False)["CredentialReady"].reason is Reason.NO_CREDENTIAL_NEEDED


def test_objectives_are_unknown_without_data() -> None:
    assert by_type(objectives=(Verdict.NO_DATA, "why"))["ObjectivesMet"].reason is Reason.NO_DATA
    assert by_type()["ObjectivesMet"].reason is Reason.NO_OBJECTIVES


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_reason_and_status(verdict: Verdict) -> None:
    found = by_type(objectives=(verdict, "p95 is 240ms."))["ObjectivesMet"]
    assert found.status == {None: "Unknown", True: "True", False: "False"}[verdict.met]
    assert str(found.reason).endswith(str(verdict))
    assert found.message == "p95 is 240ms."


def test_a_refused_spec_stalls() -> None:
    found = by_type(refused=REFUSED)
    assert found["Accepted"].status == "False"
    assert found["Stalled"].reason is Reason.NOT_SUPPORTED_YET
    assert found["Ready"].reason is Reason.NOT_ACCEPTED


def test_a_missing_credential_is_not_ready_and_may_heal() -> None:
    found = by_type(unresolved=(NO_SECRET,))
    assert found["CredentialReady"].reason is Reason.SECRET_NOT_FOUND
    assert found["Ready"].reason is Reason.CREDENTIAL_MISSING
    assert "Stalled" not in found


def test_a_missing_ca_leaves_the_credential_ready() -> None:
    found = by_type(unresolved=(NO_CA,))
    assert found["CredentialReady"].status == "True"
    assert found["ResolvedRefs"].reason is Reason.CONFIG_MAP_NOT_FOUND
    assert found["Ready"].reason is Reason.NOT_RESOLVED


def test_two_problems_are_both_told() -> None:
    found = by_type(unresolved=(NO_SECRET, NO_CA))
    assert found["ResolvedRefs"].message == f"{NO_SECRET.message} {NO_CA.message}"


@pytest.mark.parametrize(
    ("refused", "unresolved", "credential"),
    list(product([None, REFUSED], [(), (NO_SECRET,), (NO_CA,)], [True, False])),
)
def test_ready_follows_from_the_others(refused: Problem | None, unresolved: tuple, credential: bool) -> None:
    found = by_type(refused=refused, unresolved=unresolved, needs_credential=credential)
    sound = all(found[kind].status == "True" for kind in ("Accepted", "ResolvedRefs", "CredentialReady"))
    assert (found["Ready"].status == "True") == sound
    assert ("Stalled" in found) == (refused is not None)
