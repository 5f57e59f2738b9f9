"""What a worker is told: one JSON file, written by the compiler, the same for all workers of a revision.

Times are seconds. Files that hold secrets are named by path and read when needed: they can be replaced.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moltbot_worker.errors import ConfigUnreadable

__all__ = [
    "Aggregate",
    "Async",
    "Backend",
    "Batch",
    "Cache",
    "Choice",
    "GatewayCalls",
    "Jobs",
    "Limits",
    "Rule",
    "Store",
    "StreamGuard",
    "WarmUp",
    "WorkerConfig",
    "read_config",
]

Seconds = Annotated[float, Field(gt=0)]

MIB = 1024 * 1024


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
    )


class Backend(_Model):
    """A backend of a rule, named by its label (`name`, or `namespace/name` of another namespace)."""

    model: str | None = None
    """Name that the provider knows; None: the client's."""
    schema_: Annotated[Literal["Any", "OpenAI", "Anthropic"], Field(alias="schema")] = "Any"
    """The one API that it speaks: requests in the other one are translated. Any: they go as they come."""
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What it calls the most tokens of an answer, where a request is translated into OpenAI's API."""
    prefill: Literal["None", "Assistant", "Prefix", "ContinueFinalMessage"] = "None"
    """How an answer that was begun is given to it: not at all; as a last message of the assistant
    (Anthropic); with `prefix: true` in that message (DeepSeek, Mistral); with
    `continue_final_message: true` and `add_generation_prompt: false` in the request (vLLM, SGLang)."""


class Choice(_Model):
    """What a draw may give: a final route and where its attempts go."""

    route: str
    """Name of the final route, as in `x-mb-route`."""
    weight: Annotated[int, Field(ge=0)] = 1
    chain: Annotated[tuple[str, ...], Field(min_length=1)]
    """Labels in the order of attempts: the drawn candidate, the other candidates, the fallbacks."""


class WarmUp(_Model):
    """Requests that are run before the worker is ready."""

    files: tuple[Path, ...]
    """Files of one JSON request a line; or folders (a mounted ConfigMap), of which each file counts that is
    not hidden. A line is a request's body; `{"path": "/v1/embeddings", "body": {…}}` where it is no chat,
    with `headers` where they matter (`anthropic-version`)."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    timeout: Seconds = 60.0
    """Limit of the whole; what is not warm by then stays cold."""
    max_requests: Annotated[int, Field(ge=1)] = 1000
    """Lines above it are left out: the bound of what a start may cost."""


class Cache(_Model):
    """Answers kept."""

    ttl: Seconds = 600.0
    stale: Annotated[float, Field(ge=0)] = 0.0
    """How long after its end an answer may still be given while a new one is got."""
    scope: Literal["Consumer", "Route"] = "Consumer"
    max_answer_bytes: Annotated[int, Field(ge=1)] = MIB
    """Longer answers are not kept."""
    warm_up: WarmUp | None = None


class Batch(_Model):
    """Embedding requests put together."""

    window: Seconds = 0.005
    max_size: Annotated[int, Field(ge=2)] = 16
    """Most inputs in one call."""


class Async(_Model):
    """Requests taken as jobs."""

    queue: str = "default"


class Aggregate(_Model):
    """One request sent to several backends."""

    strategy: Literal["FirstSuccess", "All", "Vote"]
    backends: Annotated[tuple[str, ...], Field(min_length=2)]
    """Labels."""


class StreamGuard(_Model):
    """How streamed answers are watched."""

    first_token: Seconds = 10.0
    stall: Seconds = 15.0
    recover: Literal["Error", "Continue", "Hold"] = "Error"


class Rule(_Model):
    """A rule that goes through the worker. A feature that is None or false is not used."""

    name: str
    choices: Annotated[tuple[Choice, ...], Field(min_length=1)]
    backends: dict[str, Backend]
    """Every backend of the rule by label: candidates, fallbacks, those of `aggregate`."""
    consumers: tuple[str, ...] = ()
    """Who may use the rule, the anonymous consumer too: warm-up fills the cache of each of them."""
    first_byte: Seconds = 600.0
    """Longest wait for headers of the worker's call, all attempts of the chain included."""
    attempts: Annotated[int, Field(ge=1)] = 1
    """Most attempts along a chain whose backends speak different APIs: the worker makes these."""
    retry_on: tuple[str, ...] = ()
    """Conditions of a further attempt, as the rule's `failover.retryOn` names them."""
    idle: Seconds = 300.0
    """Longest silence within an answer that no guard watches."""
    cache: Cache | None = None
    coalesce: bool = False
    batch: Batch | None = None
    async_: Annotated[Async | None, Field(alias="async")] = None
    aggregate: Aggregate | None = None
    stream: StreamGuard | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        named = {label for choice in self.choices for label in choice.chain}
        named |= set(self.aggregate.backends) if self.aggregate else set()
        if missing := sorted(named - set(self.backends)):
            raise ValueError(f"rule {self.name} names backends without an entry in `backends`: {missing}")
        return self


class GatewayCalls(_Model):
    """The gateway's worker listener."""

    url: str
    """Such as `http://assistant-workers.team.svc:8090`, without a slash at its end."""
    key: Path
    """File with the shared secret."""
    max_connections: Annotated[int, Field(ge=1)] = 1024


class Store(_Model):
    """What workers share. Embedded: nothing, each process keeps its own in memory."""

    type: Literal["Redis", "Embedded"] = "Embedded"
    url: str | None = None
    """`redis://host:6379/0` or `rediss://…`, without a password."""
    password: Path | None = None
    """File with the password."""
    ca: Path | None = None
    """CA bundle that verifies the server of a `rediss://` URL; None: the system's."""
    prefix: str = "moltbot"
    """Begins every key; keys also carry namespace and route, so that routes can share a server."""
    timeout: Seconds = 1.0
    """Limit of one operation, after which the store counts as away."""
    max_bytes: Annotated[int, Field(ge=1)] = 256 * MIB
    """Most that an embedded cache holds; the least recently used go first. Redis has its own limit
    (`maxmemory`, with `maxmemory-policy volatile-lru`, since jobs must not be dropped)."""

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        if (self.type == "Redis") != (self.url is not None):
            raise ValueError("store.url goes with type Redis: write both or neither")
        return self


class Jobs(_Model):
    """Jobs, of all rules with `async`."""

    concurrency: Annotated[int, Field(ge=1)] = 16
    """Jobs that one worker runs at a time."""
    max_queued: Annotated[int, Field(ge=1)] = 10_000
    """Jobs of a queue that wait or run; one more is answered 429."""
    max_attempts: Annotated[int, Field(ge=1)] = 5
    """Tries, after which a job that takes its worker down or can't be answered goes to the dead letters."""
    lease: Seconds = 60.0
    """A job whose worker has not been heard of for so long is taken over."""
    result_ttl: Seconds = 86_400.0
    """How long an ended job and its result are kept."""
    webhook_key: Path | None = None
    """File with the secret that webhook signatures derive from, the same over revisions; None: no
    webhooks."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts that webhooks may go to, `*.example.com` for all below; empty: any but this pod and its node."""


class Limits(_Model):
    """Bounds of one worker."""

    body_bytes: Annotated[int, Field(ge=1)] = 16 * MIB
    answer_bytes: Annotated[int, Field(ge=1)] = 16 * MIB
    """Longest answer that is held in memory (Hold, aggregation, batching, jobs)."""
    in_flight: Annotated[int, Field(ge=1)] = 2000
    """Requests at a time; one more is marked to be served without the worker."""
    drain: Seconds = 30.0
    """Limit for requests in flight after SIGTERM."""


class WorkerConfig(_Model):
    """Everything that a worker needs for one revision."""

    namespace: str
    route: str
    revision: str
    gateway: GatewayCalls
    rules: tuple[Rule, ...]
    store: Store = Store()
    jobs: Jobs = Jobs()
    limits: Limits = Limits()
    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 here and below lets the system choose."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9090
    evidence_port: Annotated[int, Field(ge=0, le=65535)] = 9091
    evidence_token: Path = Path("/etc/moltbot/evidence/token")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(names) != len(set(names)):
            raise ValueError("two rules have one name")
        return self


def read_config(path: Path) -> WorkerConfig:
    """The configuration in the file `path`. Raises ConfigUnreadable, whose message quotes no value."""
    try:
        return WorkerConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigUnreadable(f"{path} can't be read: {error.strerror}") from error
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
        raise ConfigUnreadable(f"{path} is no worker's configuration: {where}") from error
