"""Kubernetes quantities: `500m`, `1Gi`, or a plain number."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

__all__ = ["Quantity"]

_PATTERN: Final = r"[0-9]+(\.[0-9]+)?([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?"
"""Source: apimachinery's resource.Quantity, without negative ones and shortened decimals."""

_MAX_TEXT: Final = 32
"""Longest written form, characters."""

_REMEDY: Final = "write a quantity such as 500m, 2, 512Mi or 1Gi"


class _Written:
    """A number or a string."""

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule = f"type(self) == int ? int(self) >= 0 : string(self).matches(r'^{_PATTERN}$')"
        return {
            "x-kubernetes-int-or-string": True,
            "maxLength": _MAX_TEXT,
            "x-kubernetes-validations": [{"rule": rule, "message": _REMEDY}],
        }


def _as_quantity(value: Any) -> str:
    text = str(value)
    if isinstance(value, bool | float) or len(text) > _MAX_TEXT or not re.fullmatch(_PATTERN, text, re.ASCII):
        raise PydanticCustomError("quantity", "{remedy}", {"remedy": _REMEDY})
    return text


Quantity = Annotated[str, BeforeValidator(_as_quantity), _Written()]
"""A quantity in written form; whole numbers may be written as numbers."""
