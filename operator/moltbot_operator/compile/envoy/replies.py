"""Envoy's own answers in OpenAI's shape (https://platform.openai.com/docs/guides/error-codes)."""

from typing import Final

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, header
from moltbot_operator.compile.envoy.rates import OVER_RATE
from moltbot_operator.compile.envoy.refusals import access_refusals
from moltbot_operator.compile.envoy.shapes import cel, shaped, status
from moltbot_operator.compile.ir import Gateway

__all__ = ["inner_replies", "public_replies"]

_UNREACHED: Final = ("UF", "UH", "UT", "UC", "UR", "UO", "NC", "UPE", "URX", "UMSDR", "DF")
"""Response flags of requests that no backend answered
(https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage)."""

_NO_CREDENTIAL: Final = "failed_to_inject_credential"
"""Response code details of credential_injector when its secret is empty."""


def _unreached(whose: str, *headers: Json) -> list[Json]:
    """No backend answered: 503, or 504 where one took too long, and when to try again."""
    return [
        shaped(
            cel(f"response.code_details == '{_NO_CREDENTIAL}'"),
            f"{whose} has no usable credential at the moment.",
            kind="server_error",
            code="credential_missing",
            headers=(header("retry-after", "5"), *headers),
            status_code=503,
        ),
        shaped(
            {"response_flag_filter": {"flags": list(_UNREACHED)}},
            f"{whose} did not answer: %RESPONSE_FLAGS%, attempt %UPSTREAM_REQUEST_ATTEMPT_COUNT%.",
            kind="server_error",
            code="backend_unavailable",
            headers=(header("retry-after", "1"), *headers),
        ),
    ]


def public_replies(gateway: Gateway) -> Json:
    """`local_reply_config` of the public listener. Answers of routes and scripts are in shape already."""
    own = cel("response.code_details in ['direct_response', 'lua_response']")
    return {
        "mappers": [
            {"filter": own, "headers_to_add": [header("content-type", "application/json")]},
            *_unreached("The backend of rule %ROUTE_NAME%"),
            *access_refusals(gateway),
            shaped(
                status("EQ", 413),
                "The request is longer than the 16 MiB that this gateway takes.",
                code="too_large",
            ),
            shaped(status("GE", 400), "%LOCAL_REPLY_BODY%", code=None),
        ]
    }


def inner_replies() -> Json:
    """`local_reply_config` of the inner tier: as above, and the flags for the public listener's retries."""
    fault = header(names.FAULT, "%RESPONSE_FLAGS%")
    missing, unreached = _unreached("Backend %UPSTREAM_METADATA(moltbot:name)%", fault)
    missing["headers_to_add"][-1] = header(names.FAULT, "UCR")
    over = shaped(
        cel(f"response.code_details == '{OVER_RATE}'"),
        "The backend gets more requests a second than it can take, and no other one is left: try again.",
        kind="requests",
        code="rate_limit_exceeded",
        headers=(header("retry-after", "1"), header(names.FAULT, "RL")),
    )
    return {"mappers": [missing, over, unreached]}
