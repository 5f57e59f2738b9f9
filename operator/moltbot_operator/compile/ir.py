"""The intermediate form: what a route means, with every reference resolved, before any word of Envoy's.

::

    Gateway ── access (closed | anonymous | keys)
       ├── rules: PlannedRule ── conditions
       │            └── choices: Choice(weight, chain)  or  refusal
       │                              └── Chain: the backends that attempts 1, 2, 3 … go to
       └── backends: Backend (host, prefix, model, credential, limits)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Final

from moltbot_agent.config import FetchedToken, SignedToken
from moltbot_operator.api import Audit, CircuitBreaker, Protocol, RetryCondition, Store
from moltbot_operator.compile import operations
from moltbot_operator.compile.consumers import Consumer, Issuer, Limit, unreachable
from moltbot_operator.compile.features import NOTHING, Features
from moltbot_operator.compile.patterns import RequestCondition
from moltbot_operator.compile.sources import BackendRef, Files, Problem

__all__ = [
    "PROBE_CONSUMER",
    "Backend",
    "Chain",
    "Choice",
    "Gateway",
    "Hop",
    "PlannedRule",
    "Retry",
    "UpstreamCredential",
    "Verification",
]


PROBE_CONSUMER: Final = "(probe)"
"""Consumer of test requests in audit records; no consumer can be called so."""


@dataclass(frozen=True)
class Verification:
    """How a backend's certificate is verified: the CA file, and the name to ask for and to expect."""

    ca: str
    server_name: str


@dataclass(frozen=True)
class UpstreamCredential:
    """A key of a Secret, or a token got by means of it, sent in a header.

    Backends that send the same value share it: Envoy keeps an inotify instance for each, of which Linux
    grants a user 128 unless told otherwise (fs.inotify.max_user_instances).
    """

    header: str
    """In lower case."""
    prefix: str
    namespace: str
    secret: str
    key: str
    token: FetchedToken | SignedToken | None = None
    rotated: bool = False
    """The operator replaces it, and the Secret may also hold the value to come."""

    @property
    def resource(self) -> str:
        """SDS resource name, and name of its file."""
        plain = f"{self.namespace}_{self.secret}_{self.key}"
        if self.token is not None:
            return f"{plain}~{sha256(self.token.model_dump_json().encode()).hexdigest()[:12]}"
        return plain if self.prefix == "Bearer " else f"{plain}_{self.prefix.encode().hex()}"

    @property
    def folder(self) -> str:
        """The Secret's own folder below the mount; unambiguous, since names of objects have no underscore."""
        return f"{self.namespace}_{self.secret}"


@dataclass(frozen=True)
class Backend:
    """One usable backend."""

    ref: BackendRef
    label: str
    """`name`, or `namespace/name` outside the route's namespace: in headers, logs and cluster names."""
    host: str
    port: int
    host_header: str
    prefix: str
    """Path prefix without a slash at its end; empty for the root."""
    spread: bool
    """Whether every address of the host is a host of its own (a Service may be headless)."""
    tls: Verification | None
    protocol: Protocol
    """Auto: as agreed by ALPN, so with `tls` only."""
    model: str | None
    """Name to put into requests; None leaves the client's."""
    provider: str
    """As OpenTelemetry calls it (`gen_ai.provider.name`)."""
    credential: UpstreamCredential | None
    max_connections: int | None
    max_pending: int | None
    rate: Limit | None
    breaker: CircuitBreaker | None
    connect: timedelta
    first_byte: timedelta
    idle: timedelta
    schema: str | None = None
    """The one API that it speaks, None: whatever comes."""
    embeds: bool = False
    """Whether it makes embeddings and nothing else."""

    @property
    def limit(self) -> int | None:
        """Requests in flight, queued ones included, above which the backend is full."""
        return None if self.max_connections is None else self.max_connections + (self.max_pending or 0)


@dataclass(frozen=True)
class Chain:
    """The backends that a request's attempts go to, in order; the last one takes all further attempts.

    The first attempt goes straight to the first backend (`direct`), unless what it needs can't be said for it
    alone.
    """

    backends: tuple[Backend, ...]
    direct: bool
    attempts: int = 1
    """The most that are made. More than there are backends: the last one is asked again."""
    wait: timedelta = timedelta(0)
    """How long one attempt may take until its headers."""
    overlong: bool = False
    """Whether an answer that says that the prompt is too long leads to the next backend."""

    @property
    def first(self) -> Backend:
        """Where the first attempt goes."""
        return self.backends[0]

    @property
    def prefix(self) -> str:
        """Path prefix under which the public listener sends the request on; the inner tier replaces it."""
        return self.first.prefix if self.direct else "/v1"

    @property
    def model(self) -> str | None:
        """Name that the public listener puts into the body; the inner tier replaces it where need be."""
        return self.first.model if self.direct else None

    @property
    def label(self) -> str:
        """Unique among chains."""
        again = f" {self.attempts} {self.wait}" if self.repeats else ""
        told = " overlong" if self.overlong else ""
        names = " ".join(backend.label for backend in self.backends)
        return ("" if self.direct else "~") + names + again + told

    @property
    def repeats(self) -> bool:
        """Whether the last backend may be asked again within a request."""
        return self.attempts > len(self.backends)


@dataclass(frozen=True)
class Choice:
    """A chain with its share of first attempts."""

    weight: int
    chain: Chain


@dataclass(frozen=True)
class Retry:
    """When a further attempt is made, and how long each may take until its headers."""

    retries: int
    """As the rule says; a chain may be made for more attempts, see plan.py."""
    on: frozenset[RetryCondition]
    base: timedelta
    maximum: timedelta
    per_try: timedelta | None


@dataclass(frozen=True)
class Hop:
    """What a rule's requests go to the worker for."""

    features: Features
    alone: Mapping[str, Chain]
    """By label every backend that the worker may ask by itself: a chain of it alone."""
    calls: tuple[str, ...]
    """Names of the final routes that the worker's own calls take, one a choice."""
    native: Mapping[str, tuple[Chain | None, ...]] = field(default_factory=dict)
    """By API, where some backends of the rule don't speak it: each choice's chain of those that do."""

    @property
    def paths(self) -> str:
        """Expression for the paths, with their query, that go there: of the features, or to be translated."""
        if self.features != NOTHING:
            return operations.IS_WORKED
        return "|".join(operations.SPOKEN[schema] for schema in self.native)


@dataclass(frozen=True)
class PlannedRule:
    """A rule, ready to be written; without `choices` it is refused, and `problem` says why."""

    name: str
    conditions: tuple[RequestCondition, ...]
    choices: tuple[Choice, ...]
    retry: Retry
    consumers: tuple[str, ...] | None
    """Consumers whose scope holds every backend of the rule; None if consumers are not told apart."""
    models: tuple[str, ...]
    """Names that clients may use with this rule."""
    problem: Problem | None = None
    latency: bool = False
    """Whether the candidate is chosen by its latency."""
    auto: bool = False
    """Whether the rule names `auto` among the models that it takes."""
    kept: "PlannedRule | None" = None
    """Where the rule has several backends: the same rule with only the one that keeps what is stored."""
    worked: "PlannedRule | None" = None
    """The same rule for requests that go to the worker first, if it asks for anything that needs it."""
    hop: Hop | None = None
    """Set in such a rule."""
    key: str = ""
    """Begins the names of final routes, where it is not the rule's name."""

    def final(self, number: int) -> str:
        """Name of a choice's final route, unique in the gateway."""
        return f"{self.key or self.name}/{number}"

    @cached_property
    def drawn(self) -> bool:
        """Whether the script must act: to draw among candidates, or to write the model into the body."""
        written = self.auto or any(choice.chain.model is not None for choice in self.choices)
        return len(self.choices) > 1 or (written and bool(self.choices))

    @property
    def by_latency(self) -> bool:
        """Whether there is something to choose by latency."""
        return self.latency and len(self.choices) > 1

    def reads(self, choice: Choice) -> bool:
        """Whether bodies of requests that go this way are read, by the public script or in the inner tier."""
        written = any(backend.model is not None for backend in choice.chain.backends)
        inner = written and not choice.chain.direct
        return inner or choice.chain.model is not None or any(each.scanned for each in self.conditions)


@dataclass(frozen=True)
class Gateway:
    """Everything about one route's gateway."""

    namespace: str
    route: str
    files: Files
    rules: tuple[PlannedRule, ...]
    backends: Mapping[str, Backend]
    """Used by a chain, by label."""
    anonymous: str | None
    """Name of the one consumer that everybody is."""
    consumers: tuple[Consumer, ...]
    limits: Mapping[str, Limit]
    """Of consumers that have one, the anonymous one too, by name."""
    audit: Audit
    certificate: str | None
    """Name of the Secret with the certificate that clients are shown; None: plain HTTP."""
    task_models: Mapping[str, str] | None
    """Models that tell the kind of task, and which; None if no rule asks for it."""
    store: Store | None = None
    """What the workers share."""
    drilled: bool = False
    """Whether test requests can have backends cut off, see drill.py."""

    def opened(self, name: str) -> "Gateway":
        """The same for one consumer alone, who may use everything without a limit; and without workers."""
        rules = tuple(
            replace(rule, consumers=None, kept=rule.kept and replace(rule.kept, consumers=None), worked=None)
            for rule in self.rules
        )
        return replace(self, rules=rules, anonymous=name, consumers=(), limits={})

    @property
    def closed(self) -> bool:
        """Whether nobody may use the route."""
        return self.anonymous is None and not self.consumers

    @property
    def collector(self) -> str | None:
        """URL that audit records go to, unless it is the gateway's own pod or node; None: standard output."""
        url = None if self.audit.otlp is None else self.audit.otlp.url
        return None if unreachable(url, loopback=self.files.loopback) else url

    @cached_property
    def every_rule(self) -> tuple[PlannedRule, ...]:
        """The rules, each followed by itself for stored objects, and for the worker."""
        variants = ((rule, rule.kept, rule.worked) for rule in self.rules)
        return tuple(each for variant in variants for each in variant if each is not None)

    @cached_property
    def worked(self) -> tuple[PlannedRule, ...]:
        """The rules as they go to the worker; empty: the gateway has none."""
        return tuple(rule.worked for rule in self.rules if rule.worked is not None)

    @cached_property
    def issuers(self) -> tuple[Issuer, ...]:
        """Of the consumers' tokens, each once."""
        return tuple(dict.fromkeys(each.token.issuer for each in self.consumers if each.token))

    @property
    def has_keys(self) -> bool:
        """Whether a consumer is known by keys."""
        return any(each.token is None for each in self.consumers)

    @property
    def reads_bodies(self) -> bool:
        """Whether the script reads bodies of any rule."""
        return any(rule.reads(choice) for rule in self.rules for choice in rule.choices)

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """Each different chain once, in the order of first use."""
        used = {choice.chain.label: choice.chain for rule in self.every_rule for choice in rule.choices}
        for rule in self.worked:
            if rule.hop is None:
                continue
            native = [chain for chains in rule.hop.native.values() for chain in chains if chain is not None]
            behind = (*rule.hop.alone.values(), *native)
            used |= {chain.label: chain for chain in behind if chain.label not in used}
        return tuple(used.values())

    @cached_property
    def credential_headers(self) -> tuple[str, ...]:
        """Every header that carries a credential, of clients or to backends."""
        own = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
        return tuple(sorted(own | {b.credential.header for b in self.backends.values() if b.credential}))
