"""Envoy's own answers in OpenAI's shape (https://platform.openai.com/docs/guides/error-codes)."""

from typing import Final

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension, header

__all__ = ["inner_replies", "public_replies"]

_UNREACHED: Final = ("UF", "UH", "UT", "UC", "UR", "UO", "NC", "UPE", "URX", "UMSDR", "DF")
"""Response flags of requests that no backend answered
(https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage)."""

_NO_CREDENTIAL: Final = "failed_to_inject_credential"
"""Response code details of credential_injector when its secret is empty."""


def _cel(expression: str) -> Json:
    return {
        "extension_filter": extension(
            "envoy.access_loggers.extension_filters.cel",
            "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            expression=expression,
        )
    }


def _status(comparison: str, status: int) -> Json:
    value = {"default_value": status, "runtime_key": "moltbot.unused"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _shaped(
    applies: Json,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None,
    headers: tuple[Json, ...] = (),
    **more: int,
) -> Json:
    error = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return {
        "filter": applies,
        "body_format_override": {"json_format": error, "content_type": "application/json"},
        **({"headers_to_add": list(headers)} if headers else {}),
        **more,
    }


def _unreached(whose: str, *headers: Json) -> list[Json]:
    """No backend answered: 503, or 504 where one took too long, and when to try again."""
    return [
        _shaped(
            _cel(f"response.code_details == '{_NO_CREDENTIAL}'"),
            f"{whose} has no usable credential at the moment.",
            kind="server_error",
            code="credential_missing",
            headers=(header("retry-after", "5"), *headers),
            status_code=503,
        ),
        _shaped(
            {"response_flag_filter": {"flags": list(_UNREACHED)}},
            f"{whose} did not answer: %RESPONSE_FLAGS%, attempt %UPSTREAM_REQUEST_ATTEMPT_COUNT%.",
            kind="server_error",
            code="backend_unavailable",
            headers=(header("retry-after", "1"), *headers),
        ),
    ]


def public_replies() -> Json:
    """`local_reply_config` of the public listener. Answers of routes and scripts are in shape already."""
    own = _cel("response.code_details in ['direct_response', 'lua_response']")
    return {
        "mappers": [
            {"filter": own, "headers_to_add": [header("content-type", "application/json")]},
            *_unreached("The backend of rule %ROUTE_NAME%"),
            _shaped(
                _status("EQ", 401),
                "No valid API key was given: send one of yours as 'Authorization: Bearer KEY'.",
                code="invalid_api_key",
            ),
            _shaped(
                _status("EQ", 403),
                "Your key may not use every backend of rule %ROUTE_NAME%: they are not all in its scope.",
                kind="permission_error",
                code="out_of_scope",
            ),
            _shaped(
                _status("EQ", 413),
                "The request is longer than the 16 MiB that this gateway takes.",
                code="too_large",
            ),
            _shaped(_status("GE", 400), "%LOCAL_REPLY_BODY%", code=None),
        ]
    }


def inner_replies() -> Json:
    """`local_reply_config` of the inner tier: as above, and the flags for the public listener's retries."""
    fault = header(names.FAULT, "%RESPONSE_FLAGS%")
    missing, unreached = _unreached("Backend %UPSTREAM_METADATA(moltbot:name)%", fault)
    missing["headers_to_add"][-1] = header(names.FAULT, "UCR")
    return {"mappers": [missing, unreached]}
