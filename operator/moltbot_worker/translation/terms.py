"""What translations have in common: their outcome, their refusals, and reading fields that anybody wrote."""

from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "AnswerUnreadable",
    "Json",
    "Translated",
    "Untranslatable",
    "only",
    "read",
    "read_list",
    "read_object",
    "read_sampling",
    "read_text",
]

Json = dict[str, Any]

_NAMES: Final = {bool: "true or false", dict: "an object", list: "a list", str: "a string", int: "a number"}


class Untranslatable(Exception):  # noqa: N818
    """A request that the other API has no words for. The message names the field and says what to do."""

    def __init__(self, field: str, why: str, remedy: str) -> None:
        super().__init__(f"{field}: {why}: {remedy}.")
        self.field = field


class AnswerUnreadable(ValueError):  # noqa: N818
    """An answer that is none of the API that the backend is said to speak."""


@dataclass(frozen=True)
class Translated:
    """A request in the other API's words."""

    document: Json
    without: tuple[str, ...] = ()
    """Fields that were left out or changed, though not what is asked for."""


def read(given: Json, name: str, kind: type, where: str = "") -> Any:
    """The field's value, None where it is absent or null. Raises Untranslatable for one of another type."""
    value = given.get(name)
    right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if value is None or right:
        return value
    raise Untranslatable(where + name, f"this must be {_NAMES[kind]}", "write one")


def read_text(given: Json, name: str, where: str = "") -> str:
    """A string that must be there."""
    value = read(given, name, str, where)
    if value is None:
        raise Untranslatable(where + name, "this is missing", "write it")
    return str(value)


def read_sampling(given: Json) -> dict[str, int | float]:
    """`temperature` and `top_p`, as far as they are there: both APIs have them."""
    found: dict[str, int | float] = {}
    for name in ("temperature", "top_p"):
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Untranslatable(name, "this must be a number", "write one")
        found[name] = value
    return found


def read_object(given: Json, name: str, where: str = "") -> Json:
    """An object that must be there."""
    value = read(given, name, dict, where)
    if value is None:
        raise Untranslatable(where + name, "this is missing", "write it")
    return dict(value)


def read_list(given: Json, name: str, where: str = "") -> list[tuple[str, Json]]:
    """The objects of a list, each with its place; none where it is absent or null."""
    items = read(given, name, list, where) or []
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            raise Untranslatable(f"{where}{name}[{at}]", "this must be an object", "write one")
    return [(f"{where}{name}[{at}].", item) for at, item in enumerate(items)]


def only(given: Json, known: frozenset[str], where: str, api: str) -> None:
    """Refuse what is not known. Null counts as absent."""
    for name, value in given.items():
        if name not in known and value is not None:
            raise Untranslatable(
                where + name,
                f"a backend of this rule speaks {api}'s API, into which this can't be translated",
                "leave it out, or send the request to a rule whose backends speak this API",
            )
