"""The closed lists of condition types and reasons."""

from enum import StrEnum

__all__ = ["ConditionType", "Reason", "known_reason"]


class ConditionType(StrEnum):
    """Types of conditions. The last three appear only while they are True."""

    ACCEPTED = "Accepted"
    """The spec is valid and this version implements all of it."""
    RESOLVED_REFS = "ResolvedRefs"
    """Everything that the spec names exists and may be used."""
    CREDENTIAL_READY = "CredentialReady"
    """ModelBackend: the credential is there, or none is needed."""
    OBJECTIVES_MET = "ObjectivesMet"
    """ModelBackend: the objectives hold; Unknown without data."""
    PROGRAMMED = "Programmed"
    """MoltBotRoute: the pods of the active revision report that they run that revision."""
    READY = "Ready"
    """The summary: usable as the spec asks."""
    RECONCILING = "Reconciling"
    """Work is under way that needs nobody."""
    STALLED = "Stalled"
    """Nothing goes on until somebody does what the message says."""
    DEGRADED = "Degraded"
    """It serves, but less than the spec asks for."""


class Reason(StrEnum):
    """Every reason a condition can carry."""

    ACCEPTED = "Accepted"
    """The spec is valid."""
    INVALID_SPEC = "InvalidSpec"
    """The spec can't be read, though the schema let it through: CRD and operator differ in version."""
    NOT_SUPPORTED_YET = "NotSupportedYet"
    """The spec uses a field that this version of the operator does not implement."""
    COMPILE_FAILED = "CompileFailed"
    """The spec is valid and yet can't become a configuration."""

    RESOLVED = "Resolved"
    """Every reference was found and may be used."""
    BACKEND_NOT_FOUND = "BackendNotFound"
    """A ModelBackend that the route names does not exist."""
    BACKEND_NOT_ACCEPTED = "BackendNotAccepted"
    """A ModelBackend that the route names was itself refused."""
    NOT_ALLOWED = "NotAllowed"
    """A ModelBackend of another namespace does not let this route's namespace use it (allowedRoutes)."""
    LOOP = "Loop"
    """A ModelBackend leads back to the route that uses it, or to the gateway's own pod or node."""
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 — a reason, not a secret
    """A Secret that the spec names does not exist."""
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105
    """The Secret exists without the key that the spec names, or with no key at all."""
    SECRET_VALUE_UNUSABLE = "SecretValueUnusable"  # noqa: S105
    """The key is there, but its value is empty or can't be sent as a header."""
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    """A ConfigMap that the spec names does not exist."""
    CONFIG_MAP_KEY_NOT_FOUND = "ConfigMapKeyNotFound"
    """The ConfigMap exists without the key that the spec names."""

    CREDENTIAL_READY = "CredentialReady"
    """The credential is in its Secret."""
    NO_CREDENTIAL_NEEDED = "NoCredentialNeeded"
    """auth.type is None."""
    NO_OBJECTIVES = "NoObjectives"
    """The backend has no objectives."""
    NO_DATA = "NoData"
    """There is no measurement yet."""

    PROGRAMMED = "Programmed"
    """Every ready pod of the active revision reports it."""
    NO_ACTIVE_REVISION = "NoActiveRevision"
    """No revision has ever served."""
    NO_READY_PODS = "NoReadyPods"
    """The active revision has no ready pod."""
    REVISION_NOT_REPORTED = "RevisionNotReported"
    """A ready pod of the active revision gives no evidence, or reports another revision."""

    READY = "Ready"
    """All of the spec is served."""
    NOT_ACCEPTED = "NotAccepted"
    """The spec was refused; see Accepted."""
    NOT_RESOLVED = "NotResolved"
    """A reference is missing; see ResolvedRefs."""
    CREDENTIAL_MISSING = "CredentialMissing"
    """The credential is missing; see CredentialReady."""
    NOT_PROGRAMMED = "NotProgrammed"
    """No pod is known to serve the active revision; see Programmed."""
    RULES_NOT_SERVED = "RulesNotServed"
    """A rule answers 503 because nothing can serve it; the other rules serve."""

    ROLLING_OUT = "RollingOut"
    """Another revision is being brought up."""
    PARTLY_SERVED = "PartlyServed"
    """A rule, a backend or a consumer is left out; the rest serves."""
    PODS_UNAVAILABLE = "PodsUnavailable"
    """Fewer pods of the active revision are ready than asked for."""
    ROLLOUT_STUCK = "RolloutStuck"
    """Pods of the new revision did not get ready within Kubernetes' progress deadline."""
    APPLY_REJECTED = "ApplyRejected"
    """The API server refused an object of the route: quota, admission or rights."""
    NAME_TAKEN = "NameTaken"
    """An object that the route needs exists under its name and belongs to somebody else."""
    CONTENDED = "Contended"
    """Somebody keeps changing an object of the route back."""

    INVALID_REGEX = "InvalidRegex"
    """A rule's regular expression is not RE2."""
    NO_USABLE_BACKEND = "NoUsableBackend"
    """None of a rule's backends can be used: it answers 503."""
    RULE_REFUSED = "RuleRefused"
    """A rule can't be served for another cause, which the message names."""
    CONSUMER_NOT_USABLE = "ConsumerNotUsable"
    """A consumer's keys can't be used: its requests get 401."""
    NO_CONSUMERS = "NoConsumers"
    """The route has no consumers: every request gets 401."""
    CONSUMER_SCOPE_EMPTY = "ConsumerScopeEmpty"
    """A consumer may use no backend: its requests get 403."""
    RETRIES_TOO_FEW = "RetriesTooFew"
    """A rule has so few retries that a fallback is never tried."""
    MANY_CREDENTIALS = "ManyCredentials"
    """Nodes may have too few inotify instances for the credentials that the route uses."""
    UNREACHABLE = "Unreachable"
    """A rule can never be reached: an earlier one takes all of its requests."""


def known_reason(text: str) -> Reason:
    """The reason of that name; RuleRefused for one that is not on the list (the message tells more)."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.RULE_REFUSED
