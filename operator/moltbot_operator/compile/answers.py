"""Answers that the gateway makes itself: errors in OpenAI's shape, and the list of models."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "Answer",
    "closed",
    "model",
    "model_list",
    "no_method",
    "no_operation",
    "no_rule",
    "refused",
    "unfinished",
    "unknown_model",
    "untranslated",
]


@dataclass(frozen=True)
class Answer:
    """Status, JSON body, and seconds until another try makes sense (header `retry-after`)."""

    status: int
    body: str
    retry_after: int | None = None


def _error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    retry_after: int | None = None,
) -> Answer:
    document = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Answer(status, json.dumps(document), retry_after)


def no_operation() -> Answer:
    """The path names no operation of OpenAI's API."""
    return _error(
        404,
        "This path is no operation of OpenAI's API. Set base_url to this gateway's address followed by /v1 "
        "(or by a rule's own path and /v1), so that paths read like /v1/chat/completions.",
        code="unknown_url",
    )


def no_method() -> Answer:
    """The method would have the backend send back what it got, the credential included."""
    return _error(405, "No operation of OpenAI's API has this method.", code="method_not_allowed")


def no_rule() -> Answer:
    """No rule takes the request."""
    return _error(404, "No rule of this gateway takes this path and these headers.", code="no_matching_rule")


def unknown_model() -> Answer:
    """Rules take requests by model, and none takes this one."""
    return _error(
        404,
        "The model does not exist or no rule of this gateway serves it here. GET /v1/models lists those that "
        "you may use.",
        param="model",
        code="model_not_found",
    )


def refused(rule: str, cause: str) -> Answer:
    """Nothing is left that could serve the rule."""
    return _error(
        503,
        f"Rule {rule} has no backend that can be used. {cause}",
        kind="server_error",
        code="no_usable_backend",
        retry_after=30,
    )


def untranslated(rule: str) -> Answer:
    """No backend of the rule speaks the client's API, and no worker is there that would translate."""
    return _error(
        503,
        f"Every backend of rule {rule} speaks another API than this request, and none of the route's "
        "workers, which translate, can be reached.",
        kind="server_error",
        code="translation_unavailable",
        retry_after=1,
    )


def closed() -> Answer:
    """The route has no consumers, so nobody may use it."""
    return _error(
        401,
        "This gateway lets nobody in yet: its route has no consumers. Add spec.consumers to the "
        "MoltBotRoute.",
        code="no_consumers",
    )


def unfinished() -> Answer:
    """The script that chooses a backend did not finish: the request must not go on unchecked."""
    return _error(500, "The gateway could not choose a backend.", kind="server_error", code="internal_error")


def model_list(models: Iterable[str]) -> Answer:
    """OpenAI's answer to GET /v1/models."""
    return Answer(200, json.dumps({"object": "list", "data": [_model(name) for name in models]}))


def model(name: str) -> str:
    """Body of OpenAI's answer to GET /v1/models/{id}."""
    return json.dumps(_model(name))


def _model(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "moltbot"}
