"""Pydantic's JSON schema made into a structural schema of Kubernetes.

What a structural schema may say: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/
custom-resource-definitions/#specifying-a-structural-schema. No references, no union types, no titles; `null`
means absent; bounds that exclude are flags; the keys of maps are checked by CEL.

Defaults are published for single values outside lists only: a default inside a list item would show up as a
difference in GitOps tools that compare lists as a whole. The types apply all defaults either way, and every
description names them.
"""

from typing import Any, Final

from moltbot_operator.api.model import ApiModel

__all__ = ["structural_schema"]

Schema = dict[str, Any]

_KEPT: Final = (
    "type",
    "format",
    "description",
    "default",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
"""Keywords that mean the same on both sides."""


def structural_schema(model: type[ApiModel], *, defaults: bool) -> Schema:
    """The schema of one type with everything it holds; `defaults` False leaves all defaults out."""
    written = model.model_json_schema(by_alias=True)
    return _Walk(written.pop("$defs", {})).schema(written, defaults=defaults)


class _Walk:
    """Goes through a JSON schema once; `shared` are the types that references name."""

    def __init__(self, shared: dict[str, Schema]) -> None:
        self.shared = shared

    def schema(self, given: Schema, *, defaults: bool) -> Schema:
        given = self._resolved(given)
        kept: Schema = {key: given[key] for key in _KEPT if key in given}
        kept |= {key: value for key, value in given.items() if key.startswith("x-kubernetes-")}
        self._describe(kept, defaults=defaults)
        _exclusive(given, kept, "exclusiveMinimum", "minimum")
        _exclusive(given, kept, "exclusiveMaximum", "maximum")
        if "properties" in given:
            kept["properties"] = {
                name: self.schema(member, defaults=defaults) for name, member in given["properties"].items()
            }
            if required := given.get("required"):
                kept["required"] = required
        if "items" in given:
            kept["items"] = self.schema(given["items"], defaults=False)
        if isinstance(values := given.get("additionalProperties"), dict):
            kept["additionalProperties"] = self.schema(values, defaults=False)
        if keys := given.get("propertyNames"):
            kept["x-kubernetes-validations"] = [_keys(self._resolved(keys))]
        return kept

    def _resolved(self, given: Schema) -> Schema:
        """Without references and without null; what stands beside a reference wins over the type's own."""
        if "$ref" in given:
            beside = {key: value for key, value in given.items() if key != "$ref"}
            return self._resolved(self.shared[given["$ref"].removeprefix("#/$defs/")] | beside)
        if "anyOf" in given:
            (only,) = (choice for choice in given["anyOf"] if choice.get("type") != "null")
            beside = {key: value for key, value in given.items() if key != "anyOf"}
            return self._resolved(only | beside)
        return given

    @staticmethod
    def _describe(kept: Schema, *, defaults: bool) -> None:
        """One line of description that ends in the default; the default itself only where it is published."""
        if "description" in kept:
            kept["description"] = " ".join(kept["description"].split())
        if "default" not in kept:
            return
        value = kept["default"] if defaults else kept.pop("default")
        if "description" in kept and value is not False and value != "":
            shown = str(value).lower() if isinstance(value, bool) else value
            kept["description"] += f" Defaults to {shown}."


def _exclusive(given: Schema, kept: Schema, flag: str, bound: str) -> None:
    if flag in given:
        kept[bound], kept[flag] = given[flag], True


def _keys(keys: Schema) -> dict[str, str]:
    """The rule that the keys of a map fulfil what their type says of one."""
    (rule,) = keys.get("x-kubernetes-validations", [{"rule": "true", "message": "write shorter keys"}])
    bound = f"size(key) <= {keys['maxLength']}"
    checked = rule["rule"].replace("self.matches(", "key.matches(")
    return {"rule": f"self.all(key, {bound} && {checked})", "message": rule["message"]}
