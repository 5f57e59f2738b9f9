"""What a rule may ask of the worker: everything that Envoy can't do."""

from dataclasses import dataclass
from typing import Final

from moltbot_operator.api import Aggregate, Async, Batch, Cache, Rule, StreamGuard

__all__ = ["FIELDS", "NOTHING", "Features", "features_of", "told", "without"]


@dataclass(frozen=True)
class Features:
    """As the rule says; None and False: not asked for."""

    cache: Cache | None
    coalesce: bool
    batch: Batch | None
    jobs: Async | None
    aggregate: Aggregate | None
    stream: StreamGuard | None


NOTHING = Features(None, coalesce=False, batch=None, jobs=None, aggregate=None, stream=None)
"""Asked of a worker that only translates."""


FIELDS: Final = ("cache", "coalesce", "batch", "async", "aggregate", "failover.stream")
"""Of a rule, each of which asks for something."""


def features_of(rule: Rule) -> Features | None:
    """What the rule asks for; None where that is nothing, and so its requests stay in Envoy."""
    found = Features(rule.cache, rule.coalesce, rule.batch, rule.async_, rule.aggregate, rule.failover.stream)
    asked = (found.cache, found.batch, found.jobs, found.aggregate, found.stream)
    return found if found.coalesce or any(each is not None for each in asked) else None


def without(rule: Rule) -> Rule:
    """The rule as if it asked for nothing, so that each request is a call with its own failover."""
    failover = rule.failover.model_copy(update={"stream": None})
    asked = {"cache": None, "coalesce": False, "batch": None, "async_": None, "aggregate": None}
    return rule.model_copy(update={**asked, "failover": failover})


def told(features: Features) -> dict[str, str]:
    """What is asked for, by its field in a rule (see :data:`FIELDS`), as JSON; defaults included."""
    values = (
        features.cache,
        features.coalesce,
        features.batch,
        features.jobs,
        features.aggregate,
        features.stream,
    )
    return {
        name: "true" if value is True else value.model_dump_json(by_alias=True, exclude_none=True)
        for name, value in zip(FIELDS, values, strict=True)
        if value
    }
