"""The base of all API types, and rules that hold on both sides of the API server.

A rule that a type can't say is a :class:`Check`: the same condition once in CEL, for the API server, and once
in Python, for files that `moltbot serve` and `moltbot convert` read without one. `tests/api/test_schema.py`
runs every bad input through both.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

__all__ = ["ApiModel", "Check", "OpenModel"]


@dataclass(frozen=True)
class Check:
    """One rule on an object.

    `cel` is the Common Expression Language form (`self` is the object), `holds` the same in Python; `message`
    says what to write instead; `field` is the member the message is about, as in `.candidates`.
    """

    cel: str
    holds: Callable[[Any], bool]
    message: str
    field: str | None = None

    def as_validation(self) -> dict[str, str]:
        """Item of `x-kubernetes-validations`."""
        rule = {"rule": self.cel, "message": self.message}
        return rule if self.field is None else rule | {"fieldPath": self.field}


class ApiModel(BaseModel):
    """An immutable part of a resource.

    Attributes are snake_case, fields in files camelCase; unknown fields are refused.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,
    )

    checks: ClassVar[tuple[Check, ...]] = ()

    @model_validator(mode="after")
    def _hold_checks(self) -> Self:
        for check in self.checks:
            if not check.holds(self):
                raise PydanticCustomError(
                    "check", "{message}", {"message": check.message, "field": check.field or ""}
                )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        """Adds the checks, and the defaults in their written form."""
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        if cls.checks:
            schema["x-kubernetes-validations"] = [check.as_validation() for check in cls.checks]
        written = cls.model_construct().model_dump(mode="json", by_alias=True, exclude_none=True)
        said = _docstrings(cls)
        for name, member in schema.get("properties", {}).items():
            if name in said:
                member.setdefault("description", said[name])
            member.pop("default", None)
            if name in written and not isinstance(written[name], dict | list):
                member["default"] = written[name]
        return reference


class OpenModel(ApiModel):
    """A part that others write too or that grows: unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")


def _docstrings(model: type[ApiModel]) -> dict[str, str]:
    """The text below each attribute, by its name in files.

    Read here and not by pydantic (`use_attribute_docstrings`), which would read the sources of all types at
    each start of each command; only the schema needs them.
    """
    written: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, ApiModel):
            [definition] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
            body = definition.body if isinstance(definition, ast.ClassDef) else []
            for field, text in pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    match text:
                        case ast.Expr(value=ast.Constant(value=str(said))):
                            written[field.target.id] = inspect.cleandoc(said)
    fields = model.model_fields
    return {fields[name].alias or name: said for name, said in written.items() if name in fields}
