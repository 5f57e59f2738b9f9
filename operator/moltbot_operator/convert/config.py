"""What a models.config.json may say."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from moltbot_operator.api.constraints import Text
from moltbot_operator.api.duration import Duration
from moltbot_operator.api.failover import RetryCondition
from moltbot_operator.api.fields import ModelName, RuleName
from moltbot_operator.api.route import MAX_RULES
from moltbot_operator.compile.re2 import fault
from moltbot_operator.errors import ConversionError
from moltbot_operator.positions import place

__all__ = ["ConfigCandidate", "ConfigFailover", "ConfigRoute", "ModelsConfig", "faults", "parse_config"]

_DIGITS: Final = 400
"""Of a whole number: no field takes so many, and Python reads no more than some thousand."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _weight(value: Any) -> Decimal:
    """The exact decimal that is written, which must also be one that JSON readers keep."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise PydanticCustomError("weight", "write a number such as 0.7 or 70")
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite() or exact < 0:
        raise PydanticCustomError("weight", "write a number of at least 0, such as 0.7 or 70")
    if exact != Decimal(repr(float(exact))):
        raise PydanticCustomError("weight", "write at most 15 digits, such as 0.7")
    return exact


def _re2(pattern: str) -> str:
    if (wrong := fault(pattern)) is not None:
        raise PydanticCustomError(
            "pattern", "this is no regular expression of RE2: {wrong}", {"wrong": wrong}
        )
    return pattern


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ConfigCandidate(_Part):
    """A model with its share."""

    model: ModelName
    """Name of the model."""
    weight: Annotated[Decimal, BeforeValidator(_weight)] | None = None
    """Share relative to the route's other candidates; without one, all have the same."""


def _candidates(candidates: tuple[ConfigCandidate, ...]) -> tuple[ConfigCandidate, ...]:
    names = [candidate.model for candidate in candidates]
    if len(set(names)) < len(names):
        raise PydanticCustomError(
            "twice", "a model is listed twice: list it once, with the sum of its weights"
        )
    weights = [candidate.weight for candidate in candidates]
    if None in weights:
        if any(weight is not None for weight in weights):
            raise PydanticCustomError("weights", "some candidates have no weight: give all a weight, or none")
    elif not any(weights):
        raise PydanticCustomError("weights", "the weights sum to 0: give at least one a weight above 0")
    return candidates


class ConfigRoute(_Part):
    """Requests to some paths, and the models that serve them."""

    name: RuleName | None = None
    """Name of the rule; by default made from the pattern."""
    pattern: Annotated[str, Text(1024), AfterValidator(_re2)]
    """Regular expression (RE2) that is searched for in the path."""
    candidates: Annotated[
        tuple[ConfigCandidate, ...], Field(min_length=1, max_length=32), AfterValidator(_candidates)
    ]
    """Models that serve, by weight."""
    fallback: Annotated[tuple[ModelName, ...], BeforeValidator(_listed), Field(max_length=8)] = ()
    """A model, or a list of models, that serve when all candidates fail."""

    @model_validator(mode="after")
    def _fallback_is_another(self) -> Self:
        candidates = {candidate.model for candidate in self.candidates}
        if len(set(self.fallback)) < len(self.fallback) or candidates & set(self.fallback):
            raise PydanticCustomError(
                "fallback",
                "a fallback is listed twice or is a candidate too: name another model or remove it",
            )
        return self


class ConfigFailover(_Part):
    """When and how a failed attempt is made again; for all routes."""

    max_retries: Annotated[int, Field(strict=True, ge=0, le=10)] | None = None
    """Further attempts after the first."""
    backoff_strategy: Literal["exponential"] | None = None
    """How the pause between attempts grows."""
    backoff_base: Duration | None = None
    """Pause before the first further attempt."""
    backoff_max: Duration | None = None
    """Longest pause."""
    per_try_timeout: Duration | None = None
    """Longest wait for one attempt's answer to begin."""
    retry_on: tuple[RetryCondition, ...] | None = None
    """What counts as a failure."""


def _names(routes: tuple[ConfigRoute, ...]) -> tuple[ConfigRoute, ...]:
    names = [route.name for route in routes if route.name is not None]
    if len(set(names)) < len(names):
        raise PydanticCustomError("twice", "two routes have the same name: rename one")
    return routes


class ModelsConfig(_Part):
    """The whole file."""

    name: str | None = None
    """Name of the MoltBotRoute; by default `models`."""
    routes: Annotated[
        tuple[ConfigRoute, ...], Field(min_length=1, max_length=MAX_RULES), AfterValidator(_names)
    ]
    """Routes; the first that fits a request serves it."""
    failover: ConfigFailover | None = None
    """When and how a failed attempt is made again."""
    models: dict[ModelName, dict[str, Any]] | None = None
    """By model, fields of its ModelBackend's spec."""


def parse_config(config: Mapping[str, Any] | str, source: str) -> ModelsConfig:
    """The file's text, or what a JSON reader made of it; ConversionError says where what is wrong."""
    text = config if isinstance(config, str) else ""
    if isinstance(config, str):
        try:
            config = json.loads(
                config,
                parse_float=Decimal,
                parse_int=_integer,
                parse_constant=_no_number,
                object_pairs_hook=_once,
            )
        except json.JSONDecodeError as error:
            raise ConversionError(
                f"{source}: line {error.lineno} column {error.colno}: this is no JSON: {error.msg}"
            ) from error
        except RecursionError as error:
            raise ConversionError(f"{source}: parts are nested too deeply") from error
        except ValueError as error:
            raise ConversionError(f"{source}: {error}") from error
    try:
        return ModelsConfig.model_validate(config)
    except ValidationError as error:
        places = [place(text, each["loc"]) for each in error.errors()]
        lines = [f"{source}: {at}{fault}" for at, fault in zip(places, faults(error), strict=True)]
        raise ConversionError("\n".join(lines)) from error


def faults(error: ValidationError, *start: str | int) -> Iterator[str]:
    """A line for each fault: JSON path and remedy; `start` is the path of what was validated."""
    for found in error.errors(include_url=False):
        at = ""
        for part in (*start, *found["loc"]):
            at += f"[{part}]" if isinstance(part, int) else f".{part}"
        match found["type"]:
            case "extra_forbidden":
                message = "this field is unknown: remove it or correct its name"
            case "missing":
                message = "this field is missing: add it"
            case _:
                message = found["msg"]
        yield f"{at.lstrip('.') or 'the file'}: {message}"


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON: write a decimal such as 0.7")


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a number has {len(text)} digits: write a smaller one")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"the field {twice!r} stands twice in one object: remove one")
    return dict(pairs)
