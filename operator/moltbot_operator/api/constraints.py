"""Bounds and patterns of strings, and lists whose items differ: for files, and in the schema.

Each is put on a type by `Annotated` and works on both sides: it validates, and it writes the keywords by
which the API server does the same.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = ["Keyed", "Text", "Unique", "WithListType"]


@dataclass(frozen=True)
class Text:
    """Bounds of a string, and the pattern that all of it must match, with what to write when it doesn't.

    `cheap` leaves the pattern to OpenAPI, whose message shows it, instead of CEL, whose cost is limited: for
    strings in long lists within long lists.
    """

    maximum: int
    minimum: int = 1
    pattern: str | None = None
    remedy: str = ""
    cheap: bool = False

    @cached_property
    def _compiled(self) -> re.Pattern[str] | None:
        return None if self.pattern is None else re.compile(self.pattern, re.ASCII)

    def validate(self, value: str) -> str:
        """The same string, if it is in bounds and matches."""
        if not self.minimum <= len(value) <= self.maximum:
            raise PydanticCustomError(
                "length",
                "write {minimum} to {maximum} characters: this has {length}",
                {"minimum": self.minimum, "maximum": self.maximum, "length": len(value)},
            )
        if self._compiled is not None and not self._compiled.fullmatch(value):
            raise PydanticCustomError("pattern", "{remedy}", {"remedy": self.remedy})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A string, then the checks."""
        return core_schema.no_info_after_validator_function(self.validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Bounds, and the pattern as a validation with its remedy."""
        written: dict[str, Any] = {**handler(schema), "minLength": self.minimum, "maxLength": self.maximum}
        if self.pattern is not None and self.cheap:
            written["pattern"] = f"^({self.pattern})$"
        elif self.pattern is not None:
            rule = f"self.matches(r'^({self.pattern})$')"
            written["x-kubernetes-validations"] = [{"rule": rule, "message": self.remedy}]
        return written


@dataclass(frozen=True)
class Keyed:
    """Marks a list whose items are told apart by some fields (`x-kubernetes-list-type: map`).

    No two items may be equal in all of `keys`, which are names in files.
    """

    keys: tuple[str, ...] = ("name",)

    def validate(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same items, if no two have equal keys."""
        seen = set()
        for item in items:
            key = tuple(getattr(item, name) for name in self.keys)
            if key in seen:
                written = ", ".join(f"{name} {value}" for name, value in zip(self.keys, key, strict=True))
                raise PydanticCustomError(
                    "duplicate", "Duplicate value: {written} is used twice, rename one", {"written": written}
                )
            seen.add(key)
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A list, then the check."""
        return core_schema.no_info_after_validator_function(self.validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The list type, which the API server enforces and server-side apply merges by."""
        return {
            **handler(schema),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": list(self.keys),
        }


@dataclass(frozen=True)
class WithListType:
    """Tells the API server how a list merges, and that it is to refuse what is listed twice."""

    list_type: Literal["set", "atomic"]

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The list type."""
        return {**handler(schema), "x-kubernetes-list-type": self.list_type}


class Unique(WithListType):
    """Marks a list of scalars that holds each at most once, in files too."""

    def __init__(self) -> None:
        super().__init__("set")

    def validate(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same items, if no two are equal."""
        if len(set(items)) < len(items):
            twice = next(item for at, item in enumerate(items) if item in items[:at])
            raise PydanticCustomError(
                "duplicate", "Duplicate value: {item} is listed twice, remove one", {"item": str(twice)}
            )
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A list, then the check."""
        return core_schema.no_info_after_validator_function(self.validate, handler(source))
