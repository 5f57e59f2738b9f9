"""What gateway pods say of themselves, and how it is asked for."""

from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = [
    "AttemptsEvidence",
    "ConsumerEvidence",
    "Evidence",
    "EvidenceReader",
    "EvidenceUnavailable",
    "RequestsEvidence",
    "flaw_of",
]


class EvidenceUnavailable(Exception):  # noqa: N818
    """A pod did not give evidence; the message says why, for a person."""


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class EnvoyEvidence(_Said):
    """Envoy's own words, which the agent read from its admin interface."""

    live: bool
    revision: str | None = None
    version: str = ""
    uptime_s: Annotated[int, Field(ge=0, le=10**10)] | None = None
    """Seconds since Envoy's start; None from an agent that does not tell."""


class CredentialEvidence(_Said):
    """Whether a backend's credential is in its place in the pod."""

    backend: Annotated[str, Field(max_length=320)]
    present: bool
    fingerprint: str | None = None
    """Of the value in use; see :mod:`moltbot_agent.evidence`."""
    held: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """Of the values that the pod has."""


class ConsumerEvidence(_Said):
    """Keys by which a consumer is let in."""

    consumer: Annotated[str, Field(max_length=320)]
    held: Annotated[tuple[str, ...], Field(max_length=1024)] = ()
    """Their fingerprints; see :mod:`moltbot_agent.evidence`."""


Count = Annotated[int, Field(ge=0, le=2**53)]


class AttemptsEvidence(_Said):
    """What Envoy counted of a backend since its start."""

    backend: Annotated[str, Field(max_length=320)]
    """`namespace/name`."""
    ended: Count
    well: Count
    unanswered: Count = 0
    refused: Count = 0
    """Attempts that the backend's limits turned away."""
    buckets: Annotated[tuple[tuple[float | None, Count], ...], Field(max_length=64)] = ()
    """Latency: upper bound in seconds (None: no bound), and attempts up to it."""


class RequestsEvidence(_Said):
    """What Envoy counted of clients' requests at its public listener since its start; probes don't count.

    The figures by which `source: Gateway` judges a revision.
    """

    ended: Count
    """Requests that a backend answered or that failed here; neither refused for the client's own fault nor
    abandoned by the client. See moltbot_agent.clients."""
    well: Count
    """Of those, the ones that a backend answered well (not 5xx, 401, 403, 408 or 429)."""
    unanswered: Count = 0
    """Of those, the ones without an answer: they have no latency."""
    buckets: Annotated[tuple[tuple[float | None, Count], ...], Field(max_length=64)] = ()
    """Latency of good answers to the first byte of the body, all attempts in it: upper bound in seconds
    (None: no bound), and requests up to it."""


class Evidence(_Said):
    """The answer of an agent's `/evidence`."""

    namespace: str
    route: str
    revision: str
    """The configuration that the agent was given."""
    envoy: EnvoyEvidence
    credentials: tuple[CredentialEvidence, ...] = ()
    consumers: tuple[ConsumerEvidence, ...] | None = None
    """None from an agent that does not tell."""
    in_flight: int = 0
    attempts: tuple[AttemptsEvidence, ...] = ()
    requests: RequestsEvidence | None = None
    """None from an agent that does not tell."""
    problems: tuple[str, ...] = ()


class EvidenceReader(Protocol):
    """Asks one pod."""

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        """The pod's evidence; EvidenceUnavailable if it can't be had. `token`: the route's bearer token."""


def flaw_of(evidence: Evidence, revision: str) -> str:
    """Why the evidence does not prove that Envoy is live with `revision`; empty when it does."""
    if evidence.revision != revision:
        return f"its agent has revision {evidence.revision}"
    if not evidence.envoy.live:
        return "its Envoy is not live"
    if evidence.envoy.revision != revision:
        return f"its Envoy has revision {evidence.envoy.revision}"
    return ""
