"""Example requests for the conditions of rules, so that a difference can be shown by what it does to one."""

import re
from collections.abc import Iterable, Iterator
from itertools import product

from moltbot_operator.compare.examples import example
from moltbot_operator.compile import operations
from moltbot_operator.compile.ir import Gateway
from moltbot_operator.compile.patterns import PathCondition, RequestCondition
from moltbot_operator.explain import Request, chat_body
from moltbot_operator.explain.expressions import whole
from moltbot_operator.explain.matching import lacks, path_matches

__all__ = ["samples"]

_OPERATIONS = ("/v1/chat/completions", "/v1/embeddings", "/v1/files/file-1", "/v1/models")


def samples(gateways: Iterable[Gateway]) -> Iterator[Request]:
    """Requests that between them meet every condition of the gateways, by every consumer; each once."""
    seen: set[tuple[object, ...]] = set()
    gateways = list(gateways)
    consumers: list[str | None] = [None]
    consumers += dict.fromkeys(each.name for gateway in gateways for each in gateway.consumers)
    plain = [
        Request(path, "GET" if "chat" not in path and "emb" not in path else "POST") for path in _OPERATIONS
    ]
    models = dict.fromkeys(name for gateway in gateways for rule in gateway.rules for name in rule.models)
    asked = [_with_body(request, model) for request in plain for model in (None, *models)]
    for gateway in gateways:
        for rule in gateway.rules:
            for condition in rule.conditions:
                asked += _meeting(condition)
    for request, consumer in product(asked, consumers):
        made = Request(request.path, request.method, request.headers, request.body, consumer)
        key = (made.path, made.method, tuple(sorted(made.headers.items())), made.body, consumer)
        if key not in seen:
            seen.add(key)
            yield made


def _with_body(request: Request, model: str | None) -> Request:
    if request.method != "POST":
        return request
    return Request(request.path, request.method, request.headers, chat_body(model))


def _meeting(condition: RequestCondition) -> Iterator[Request]:
    """Requests that meet a condition: one for each model that it names. None if an expression is too hard."""
    headers = {}
    for wanted in condition.headers:
        value = example(wanted.value) if wanted.regex else wanted.value
        if value is None or (wanted.regex and not whole(wanted.value, value)):
            return
        headers[wanted.name] = value
    if condition.task is not None:
        headers["x-moltbot-task"] = str(condition.task)
    for path in _paths(condition.path):
        for name in condition.names or ("",):
            model = re.sub(r"\*$", "x", name) or None
            request = Request(path, "POST", headers, chat_body(model))
            if not lacks(condition, request, model, condition.task and str(condition.task)):
                yield request
        return


def _paths(path: PathCondition) -> Iterator[str]:
    """Paths that match and name an operation, the plainest first."""
    begin = path.value
    if path.kind == "regex":
        inside = example(begin)
        if inside is None:
            return
        begin = inside
    begin = "/" + begin.lstrip("/")
    for made in (
        f"{begin.rstrip('/')}/v1/chat/completions",
        begin,
        f"{begin}/v1/chat/completions",
        f"/v1{begin}",
        f"/v1/x{begin}",
    ):
        if path_matches(path, Request(made).bare) and whole(operations.IS_OPERATION, made):
            yield made
