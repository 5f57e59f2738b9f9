"""Durations as Go and Kubernetes write them: `300ms`, `5s`, `1h30m`, `72h`.

Source of the form: Go's time.ParseDuration. Units finer than a microsecond and negative values have no use
here and are refused.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = ["Duration", "DurationBounds", "format_duration", "parse_duration"]

_UNITS: Final = {
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""Microseconds a unit."""

_PATTERN: Final = r"([0-9]+(\.[0-9]{1,3})?(h|ms|m|s)|[0-9]+us)+"
"""Decimals that are always whole microseconds."""

_WHOLE: Final = re.compile(_PATTERN, re.ASCII)
_PARTS: Final = re.compile(r"([0-9.]+)(h|ms|m|us|s)", re.ASCII)

_MAX_TEXT: Final = 32
"""Longest written form, characters."""


def parse_duration(text: str) -> timedelta:
    """`1h30m` as a timedelta; ValueError if it is no such duration."""
    if len(text) > _MAX_TEXT or not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r:.60} is no duration: write one such as 300ms, 5s or 1h30m")
    microseconds = sum(Fraction(number) * _UNITS[unit] for number, unit in _PARTS.findall(text))
    try:
        return timedelta(microseconds=int(microseconds))
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long: write a duration such as 300ms, 5s or 1h30m") from error


def format_duration(value: timedelta) -> str:
    """The shortest form in whole units, largest first: `1h30m`, `72h`, `1s500ms`; `0s` for nothing."""
    rest = value // timedelta(microseconds=1)
    if rest < 0:
        raise ValueError(f"{value} is negative: a duration is not")
    written = []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            written.append(f"{count}{unit}")
    return "".join(written) or "0s"


@dataclass(frozen=True)
class DurationBounds:
    """Makes a timedelta field read and write durations, between two inclusive bounds in written form."""

    minimum: str = "1ms"
    maximum: str = "8760h"

    @property
    def remedy(self) -> str:
        """What to write."""
        return f"write a duration from {self.minimum} to {self.maximum}, such as 300ms, 5s or 1h30m"

    def validate(self, value: Any) -> timedelta:
        """A duration in written form, or a timedelta, within the bounds."""
        try:
            duration = value if isinstance(value, timedelta) else parse_duration(value)
        except (TypeError, ValueError) as error:
            raise PydanticCustomError("duration", "{remedy}", {"remedy": self.remedy}) from error
        if not parse_duration(self.minimum) <= duration <= parse_duration(self.maximum):
            raise PydanticCustomError("duration", "{remedy}", {"remedy": self.remedy})
        return duration

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Parsing in, written form out."""
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(format_duration)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A bounded string that the API server parses."""
        cel = (
            f"self.matches(r'^{_PATTERN}$') && duration(self) >= duration('{self.minimum}') && "
            f"duration(self) <= duration('{self.maximum}')"
        )
        return {
            "type": "string",
            "minLength": 2,
            "maxLength": _MAX_TEXT,
            "x-kubernetes-validations": [{"rule": cel, "message": self.remedy}],
        }


Duration = Annotated[timedelta, DurationBounds()]
"""A timedelta written as `300ms`, `5s`, `1h30m`: at least 1ms, at most a year."""
