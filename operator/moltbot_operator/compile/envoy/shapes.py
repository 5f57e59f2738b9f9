"""Building blocks of `local_reply_config`: which of Envoy's own answers, and the shape that it gets."""

from moltbot_operator.compile.envoy.proto import Json, extension

__all__ = ["cel", "shaped", "status"]


def cel(expression: str) -> Json:
    """Answers for which the expression of CEL holds."""
    return {
        "extension_filter": extension(
            "envoy.access_loggers.extension_filters.cel",
            "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            expression=expression,
        )
    }


def status(comparison: str, number: int) -> Json:
    """Answers whose status compares so (EQ, GE, LE) with a number."""
    value = {"default_value": number, "runtime_key": "moltbot.unused"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def shaped(
    applies: Json,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None,
    headers: tuple[Json, ...] = (),
    **more: int,
) -> Json:
    """A mapper: OpenAI's error with this message, type `kind` and code; `more` may set `status_code`."""
    error = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return {
        "filter": applies,
        "body_format_override": {"json_format": error, "content_type": "application/json"},
        **({"headers_to_add": list(headers)} if headers else {}),
        **more,
    }
