"""What a ModelBackend's conditions say."""

from collections.abc import Sequence
from dataclasses import dataclass

from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions.merge import Statement, Status, sentence
from moltbot_operator.conditions.reasons import ConditionType, Reason, known_reason
from moltbot_operator.objectives import Verdict

__all__ = ["BackendFacts", "RotationFacts", "backend_conditions"]

_CREDENTIAL_REASONS = {
    Reason.SECRET_NOT_FOUND,
    Reason.SECRET_KEY_NOT_FOUND,
    Reason.SECRET_VALUE_UNUSABLE,
    Reason.NAME_TAKEN,
    Reason.APPLY_REJECTED,
    Reason.CREDENTIAL_NOT_ISSUED,
}

_OBJECTIVES_REASONS = {
    Verdict.MET: Reason.OBJECTIVES_MET,
    Verdict.NO_DATA: Reason.NO_DATA,
    Verdict.NOT_OFFERED: Reason.NOT_OFFERED,
    Verdict.FEED_UNUSABLE: Reason.FEED_UNUSABLE,
    Verdict.FEED_STALE: Reason.FEED_STALE,
    Verdict.LATENCY_TOO_HIGH: Reason.LATENCY_TOO_HIGH,
    Verdict.THROUGHPUT_TOO_LOW: Reason.THROUGHPUT_TOO_LOW,
    Verdict.ACCURACY_TOO_LOW: Reason.ACCURACY_TOO_LOW,
}


@dataclass(frozen=True)
class RotationFacts:
    """How the rotation of a backend's credential stands.

    `message`: what is in its way, where `failing`; else empty. `expired`: the version in use.
    """

    version: str
    failing: bool = False
    expired: bool = False
    message: str = ""


@dataclass(frozen=True)
class BackendFacts:
    """What is known of a backend.

    `refused`: why the spec can't be used at all. `unresolved`: references that are missing or unusable,
    the credential's among them. `needs_credential`: auth.type is not None. `objectives`: the verdict on
    them and what is said of it; None if the spec has none. `jwks`: `namespace/name` of the ConfigMap with the
    public half of a managed signing key.
    """

    refused: Problem | None
    unresolved: Sequence[Problem]
    needs_credential: bool
    objectives: tuple[Verdict, str] | None
    jwks: str | None = None
    rotation: RotationFacts | None = None


def backend_conditions(facts: BackendFacts) -> list[Statement]:
    """Accepted, ResolvedRefs, CredentialReady, ObjectivesMet and Ready; Stalled only when True."""
    conditions = [_accepted(facts), _resolved(facts), _credential(facts), _objectives(facts), _ready(facts)]
    if facts.refused:
        reason, message = known_reason(facts.refused.reason), facts.refused.message
        conditions.append(Statement(ConditionType.STALLED, "True", reason, message))
    return conditions


def _accepted(facts: BackendFacts) -> Statement:
    if facts.refused:
        reason = known_reason(facts.refused.reason)
        return Statement(ConditionType.ACCEPTED, "False", reason, facts.refused.message)
    return Statement(ConditionType.ACCEPTED, "True", Reason.ACCEPTED, "The spec is valid.")


def _resolved(facts: BackendFacts) -> Statement:
    if facts.unresolved:
        first = facts.unresolved[0]
        message = " ".join(sentence(problem.message) for problem in facts.unresolved)
        return Statement(ConditionType.RESOLVED_REFS, "False", known_reason(first.reason), message)
    return Statement(
        ConditionType.RESOLVED_REFS, "True", Reason.RESOLVED, "Everything the spec names exists."
    )


def _credential(facts: BackendFacts) -> Statement:
    kind = ConditionType.CREDENTIAL_READY
    if not facts.needs_credential:
        return Statement(
            kind, "True", Reason.NO_CREDENTIAL_NEEDED, "auth.type is None: requests carry no credential."
        )
    for problem in facts.unresolved:
        reason = known_reason(problem.reason)
        if reason in _CREDENTIAL_REASONS:
            return Statement(kind, "False", reason, problem.message)
    said, reason = "The credential is in its Secret.", Reason.CREDENTIAL_READY
    if facts.jwks is not None:
        said = f"A managed key signs the tokens: give the provider the JWKS of ConfigMap {facts.jwks}."
    if (rotation := facts.rotation) is not None:
        if rotation.expired:
            message = f"Version {rotation.version} of the credential has expired. {rotation.message}".strip()
            return Statement(kind, "False", Reason.CREDENTIAL_EXPIRED, message)
        if rotation.failing:
            reason = Reason.ROTATION_FAILING
            said = f"Version {rotation.version} works, and replacing it fails: {rotation.message}"
    return Statement(kind, "True", reason, said)


def _objectives(facts: BackendFacts) -> Statement:
    kind = ConditionType.OBJECTIVES_MET
    if facts.objectives:
        verdict, message = facts.objectives
        status: Status = "Unknown" if verdict.met is None else "True" if verdict.met else "False"
        return Statement(kind, status, _OBJECTIVES_REASONS[verdict], message)
    return Statement(
        kind, "Unknown", Reason.NO_OBJECTIVES, "Nothing is asked for; set spec.objectives to have it watched."
    )


def _ready(facts: BackendFacts) -> Statement:
    kind = ConditionType.READY
    if facts.refused:
        return Statement(kind, "False", Reason.NOT_ACCEPTED, facts.refused.message)
    credential = _credential(facts)
    if credential.status == "False":
        return Statement(kind, "False", Reason.CREDENTIAL_MISSING, credential.message)
    if facts.unresolved:
        return Statement(kind, "False", Reason.NOT_RESOLVED, _resolved(facts).message)
    return Statement(kind, "True", Reason.READY, "Routes can use the backend.")
