"""A rule of a route: which requests it takes, and which backends serve them."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from moltbot_operator.api.backend import Capability
from moltbot_operator.api.constraints import Keyed, Text, Unique
from moltbot_operator.api.failover import Failover
from moltbot_operator.api.features import Aggregate, Async, Batch, Cache
from moltbot_operator.api.fields import BackendReference, Flag, HeaderName, ModelName, RuleName
from moltbot_operator.api.model import ApiModel, Check

__all__ = [
    "Candidate",
    "HeaderMatch",
    "HeaderMatchType",
    "Match",
    "PathMatch",
    "PathMatchType",
    "Rule",
    "Selection",
]


_IS_RE2: Final = "(''.matches(self.value) ? true : true)"
"""CEL whose evaluation fails if the value is no expression of RE2."""

_RE2_REMEDY: Final = (
    "this is no regular expression of RE2: close every bracket, and write it without lookaround such as "
    "(?=...) and backreferences such as \\1 (see https://github.com/google/re2/wiki/Syntax)"
)


class PathMatchType(StrEnum):
    """How a path is compared."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    REGEX = "Regex"


class PathMatch(ApiModel):
    """A condition on the path of the request, without its query."""

    type: PathMatchType = PathMatchType.PREFIX
    """Exact (the whole path), Prefix (whole segments: /tech takes /tech and /tech/x, not /technology) or
    Regex (RE2, found anywhere in the path: write ^ and $ to anchor it)."""
    value: Annotated[str, Text(1024)]
    """The path, the prefix or the expression, such as ^/tech/."""

    checks = (
        Check(
            "(has(self.type) && self.type == 'Regex') || self.value.startsWith('/')",
            lambda self: self.type is PathMatchType.REGEX or self.value.startswith("/"),
            "a path starts with '/': write /tech, or type: Regex for an expression",
            ".value",
        ),
        Check(
            f"!has(self.type) || self.type != 'Regex' || {_IS_RE2}",
            lambda _: True,  # in files too, the compiler refuses the rule alone
            _RE2_REMEDY,
            ".value",
        ),
    )


class HeaderMatchType(StrEnum):
    """How a header is compared."""

    EXACT = "Exact"
    REGEX = "Regex"


class HeaderMatch(ApiModel):
    """A condition on one header."""

    name: HeaderName
    """The header's name; case does not matter."""
    type: HeaderMatchType = HeaderMatchType.EXACT
    """Exact (the whole value) or Regex (RE2, which must match the whole value)."""
    value: Annotated[str, Text(256)]
    """The value, or the expression. An expression that RE2 refuses takes its rule out of service, and a
    condition says so."""


class Match(ApiModel):
    """A set of conditions; a request matches if all given ones hold."""

    path: PathMatch | None = None
    """Condition on the path."""
    headers: Annotated[tuple[HeaderMatch, ...], Field(max_length=8), Keyed()] = ()
    """Conditions on headers; all must hold."""
    task: Capability | None = None
    """Kind of task, from the header x-moltbot-task or by classification: Dialog, Code, Multimodal or
    Embedding."""
    model: Annotated[tuple[ModelName, ...], Field(max_length=64), Unique()] = ()
    """Names of models as clients write them in the body; any of them. `*` at the end of a name takes any
    rest."""

    checks = (
        Check(
            "has(self.path) || (has(self.headers) && size(self.headers) > 0) || has(self.task) || "
            "(has(self.model) && size(self.model) > 0)",
            lambda self: bool(self.path or self.headers or self.task or self.model),
            "an empty match would take nothing in particular: give path, headers, task or model, or leave"
            " matches out "
            "to take every request",
        ),
    )


class Candidate(ApiModel):
    """A backend with its share of a rule's first attempts."""

    backend: BackendReference
    """Name of a ModelBackend, or namespace/name for one of another namespace that consents
    (allowedRoutes)."""
    weight: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 1
    """Share relative to the sum of all weights of the rule; 0 takes no first attempt, only further ones."""


class Selection(StrEnum):
    """How a candidate is chosen."""

    WEIGHTED = "Weighted"
    LOWEST_LATENCY = "LowestLatency"


class Rule(ApiModel):
    """Takes the requests that match and serves them from its candidates, then from its fallbacks."""

    name: RuleName
    """Name, unique in the route; logs, metrics, conditions and errors use it."""
    matches: Annotated[tuple[Match, ...], Field(max_length=8)] = ()
    """Which requests the rule takes: those for which any of these matches. Empty: every request. The first
    rule of the route that takes a request serves it."""
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=32), Keyed(("backend",))]
    """Backends that serve the requests, by weight. A failed attempt goes to the other candidates before the
    fallbacks."""
    selection: Selection = Selection.WEIGHTED
    """How a candidate is chosen: Weighted (at random by weight) or LowestLatency."""
    fallback: Annotated[tuple[BackendReference, ...], Field(max_length=8), Unique()] = ()
    """Backends that serve when all candidates fail, in this order."""
    failover: Failover = Failover()
    """When and how a failed attempt is made again elsewhere."""
    cache: Cache | None = None
    """Answers kept for identical requests; absent: none."""
    coalesce: Flag = False
    """true: identical requests in flight at the same time share one call."""
    batch: Batch | None = None
    """Embedding requests put together into one call; absent: not."""
    async_: Annotated[Async | None, Field(alias="async")] = None
    """Requests taken as jobs whose result is fetched later; absent: not."""
    aggregate: Aggregate | None = None
    """One request sent to several backends, whose answers make one; absent: not."""

    checks = (
        Check(
            "self.candidates.exists(c, !has(c.weight) || c.weight > 0)",
            lambda self: any(candidate.weight for candidate in self.candidates),
            "the weights sum to 0, so no candidate would ever be tried first: give at least one a weight "
            "above 0",
            ".candidates",
        ),
        Check(
            "!has(self.fallback) || !self.candidates.exists(c, c.backend in self.fallback)",
            lambda self: not {candidate.backend for candidate in self.candidates} & set(self.fallback),
            "a fallback repeats a candidate, which is tried before the fallbacks anyway: name another "
            "backend or remove "
            "it",
            ".fallback",
        ),
    )

    @property
    def backends(self) -> tuple[str, ...]:
        """Every backend that the rule names, as it is written: candidates, fallbacks, those aggregated."""
        aggregated = self.aggregate.backends if self.aggregate else ()
        return (*(candidate.backend for candidate in self.candidates), *self.fallback, *aggregated)
