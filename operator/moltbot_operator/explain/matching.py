"""Whether a request meets a condition, and what it lacks."""

from collections.abc import Iterator

from moltbot_operator.compile.patterns import EVERY_PATH, PathCondition, RequestCondition
from moltbot_operator.explain.expressions import whole
from moltbot_operator.explain.request import Request

__all__ = ["lacks", "path_matches", "unscanned_lacks", "wants"]


def path_matches(path: PathCondition, bare: str) -> bool:
    """As Envoy compares a path without its query."""
    match path.kind:
        case "exact":
            return bare == path.value
        case "prefix":
            return bare.startswith(path.value)
        case "segments":
            return bare == path.value or bare.startswith(f"{path.value}/")
    return whole(path.value, bare)


def wants(condition: RequestCondition) -> str:
    """What a condition asks for, in words."""
    asked = [_path(condition.path)] if condition.path != EVERY_PATH else []
    asked += [
        f"header {each.name} {'matching' if each.regex else 'equal to'} {each.value}"
        for each in condition.headers
    ]
    if condition.names:
        asked.append(f"model {' or '.join(condition.names)}")
    if condition.task is not None:
        asked.append(f"task {condition.task}")
    return ", ".join(asked) or "every request"


def _path(path: PathCondition) -> str:
    match path.kind:
        case "exact":
            return f"path {path.value}"
        case "prefix":
            return f"path beginning with {path.value}"
        case "segments":
            return f"path {path.value} or below it"
    return f"path matching {path.value.removeprefix('.*(?:').removesuffix(').*')}"


def unscanned_lacks(condition: RequestCondition, request: Request) -> Iterator[str]:
    """What can be told by path and headers alone."""
    if not path_matches(condition.path, request.bare):
        yield f"the path is not {_path(condition.path).removeprefix('path ')}"
    for wanted in condition.headers:
        value = request.headers.get(wanted.name)
        if value is None:
            yield f"there is no header {wanted.name}"
        elif not (whole(wanted.value, value) if wanted.regex else value == wanted.value):
            how = "does not match" if wanted.regex else "is not"
            yield f"header {wanted.name} is {value} and {how} {wanted.value}"


def lacks(condition: RequestCondition, request: Request, model: str | None, task: str | None) -> list[str]:
    """Everything that a request lacks for a condition; nothing if it matches."""
    found = list(unscanned_lacks(condition, request))
    if condition.models is not None:
        listed = " or ".join(condition.names)
        if model is None:
            found.append(f"the body names no model, and {listed} is asked for")
        elif not whole(condition.models, model):
            found.append(f"model {model} is not {listed}")
    if condition.task is not None and task is not None and task != condition.task:
        found.append(f"the task is {task} and not {condition.task}")
    return found
