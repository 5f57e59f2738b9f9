"""Kinds of strings and numbers that several types share: bounded, and with a remedy for a wrong one."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = [
    "DNS_LABEL",
    "BackendList",
    "BackendReference",
    "EnvironmentName",
    "Flag",
    "HeaderName",
    "HostName",
    "HttpUrl",
    "Keyed",
    "LabelKey",
    "LabelValue",
    "ModelName",
    "Name",
    "ObjectName",
    "Percent",
    "Port",
    "Revision",
    "RuleName",
    "SecretKey",
    "Sentence",
    "Text",
    "Unique",
    "UrlPath",
    "WithListType",
    "is_dns_label",
]

DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""RFC 1123 label, without its bound."""

_LABEL_LENGTH: Final = 63


def is_dns_label(name: str) -> bool:
    """Whether a name is an RFC 1123 label of at most 63 characters."""
    return len(name) <= _LABEL_LENGTH and re.fullmatch(DNS_LABEL, name, re.ASCII) is not None


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


Name = Annotated[
    str,
    Text(
        63,
        pattern=DNS_LABEL,
        remedy="write a name of at most 63 lower-case letters, digits and hyphens, such as code-model-v2",
    ),
]
"""RFC 1123 label: names of consumers, metrics and the like."""

RuleName = Name
"""Name of a rule, unique in its route; logs, metrics and errors use it."""

ObjectName = Annotated[
    str,
    Text(
        253,
        pattern="[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        remedy="write the name of an object: lower-case letters, digits, hyphens and dots, such as corp-ca",
    ),
]
"""RFC 1123 subdomain: name of a Secret, ConfigMap or Service."""

SecretKey = Annotated[
    str,
    Text(
        253,
        pattern="[-._a-zA-Z0-9]+",
        remedy="write a key of the object's data: letters, digits, '-', '_' and '.', such as token",
    ),
]
"""Key in a Secret's or ConfigMap's data."""

_REFERENCE_REMEDY: Final = (
    "write the name of a ModelBackend, or namespace/name for one in another namespace that consents, "
    "such as code-model-v2 or models/code-model-v2"
)

_REFERENCE: Final = "[-/a-z0-9]+"
"""Coarse, since CEL has a budget and a route thousands of these; what else is wrong is simply not found."""

BackendReference = Annotated[str, Text(127, pattern=_REFERENCE, remedy=_REFERENCE_REMEDY)]
"""`name` or `namespace/name` of a ModelBackend."""

_ListedBackend = Annotated[str, Text(127, pattern=_REFERENCE, remedy=_REFERENCE_REMEDY, cheap=True)]

BackendList = Annotated[tuple[_ListedBackend, ...], Field(max_length=1024), Unique()]
"""Up to 1,024 different `name` or `namespace/name` of ModelBackends."""

ModelName = Annotated[
    str,
    Text(
        256,
        pattern="[!-~]+",
        remedy="write a model's name without spaces, such as gpt-4o or dialog_pro",
        cheap=True,
    ),
]
"""Name of a model as a client or a provider writes it."""

HeaderName = Annotated[
    str,
    Text(
        128,
        pattern="[-!#$%&*+.^_`|~0-9A-Za-z]+",
        remedy="write the name of an HTTP header, such as x-team (letters, digits and hyphens)",
        cheap=True,
    ),
]
"""RFC 9110 §5.1 field name."""

HostName = Annotated[
    str,
    Text(
        253,
        pattern="[a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?",
        remedy="write a host name, such as api.example.com",
    ),
]
"""Name of a host, without scheme and port."""

_PORT: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
"""1 to 65535."""

HttpUrl = Annotated[
    str,
    Text(
        1024,
        pattern=rf"https?://([-._a-zA-Z0-9]+|\[[0-9a-fA-F:.]+\])(:{_PORT})?(/[!-\"$->@-~]*)?",
        remedy="write http:// or https://, a host, and perhaps a port and a path, such as "
        "https://api.example.com/v1 (no user, query or fragment)",
    ),
]
"""Absolute http or https URL without user, query and fragment."""

UrlPath = Annotated[
    str,
    Text(
        1024,
        pattern=r"/[!-\"$->@-~]*",
        remedy="write a path that starts with '/', such as /v1 (no spaces, query or fragment)",
    ),
]
"""Absolute path of a URL."""

LabelKey = Annotated[
    str,
    Text(
        317,
        pattern="([a-z0-9][-a-z0-9.]{0,252}/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?",
        remedy="write a label's key, such as team or example.com/team",
    ),
]
"""Kubernetes label key."""

LabelValue = Annotated[
    str,
    Text(
        63,
        minimum=0,
        pattern="([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?)?",
        remedy="write a label's value: at most 63 letters, digits, '-', '_' and '.'",
    ),
]
"""Kubernetes label value."""

Revision = Annotated[
    str,
    Text(
        63,
        pattern=DNS_LABEL,
        remedy="write a revision's name as status.revision shows it, such as 5f0c2b91ad",
    ),
]
"""Name of a revision of a route."""

EnvironmentName = Annotated[
    str,
    Text(128, pattern="[A-Za-z_][A-Za-z0-9_]*", remedy="write letters, digits and '_', such as TEAM_NAME"),
]
"""Name of an environment variable."""

Sentence = Annotated[str, Text(1024)]
"""Free text without a pattern."""

Flag = Annotated[bool, Field(strict=True)]
"""true or false, and nothing that only looks like it."""

Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
"""TCP port."""

Percent = Annotated[int, Field(strict=True, ge=1, le=100)]
"""Whole percent, 1 to 100."""
