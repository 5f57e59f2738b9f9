"""Why somebody is not let in, in OpenAI's shape."""

from typing import Final

from moltbot_operator.compile.envoy.consumer_limits import LIMITED
from moltbot_operator.compile.envoy.proto import Json, header
from moltbot_operator.compile.envoy.shapes import cel, shaped, status
from moltbot_operator.compile.ir import Gateway

__all__ = ["access_refusals"]

_DENIED: Final = "jwt_authn_access_denied"
"""How the response code details of jwt_authn begin."""


def access_refusals(gateway: Gateway) -> list[Json]:
    """Mappers for 401, 403 and 429, the special ones first."""
    made = []
    if gateway.limits:
        made.append(
            shaped(
                cel(f"response.code_details == '{LIMITED}'"),
                "You send more requests a second than you may here: wait, or ask for a higher limit.",
                kind="requests",
                code="rate_limit_exceeded",
                headers=(header("retry-after", "1"),),
            )
        )
    if gateway.issuers:
        made += _tokens()
    what = "API key or token" if gateway.issuers else "API key"
    return [
        *made,
        shaped(
            status("EQ", 401),
            f"No valid {what} was given: send one of yours as 'Authorization: Bearer KEY'.",
            code="invalid_api_key",
        ),
        shaped(
            status("EQ", 403),
            "Your key may not use every backend of rule %ROUTE_NAME%: they are not all in its scope.",
            kind="permission_error",
            code="out_of_scope",
        ),
    ]


def _tokens() -> list[Json]:
    """What jwt_authn says in its details: https://github.com/google/jwt_verify_lib, status.cc."""
    return [
        shaped(
            cel(f"response.code_details == '{_DENIED}{{Jwks_remote_fetch_is_failed}}'"),
            "The keys of the token's issuer are not there at the moment, so the token can't be checked.",
            kind="server_error",
            code="issuer_unavailable",
            headers=(header("retry-after", "5"),),
            status_code=503,
        ),
        shaped(
            cel(f"response.code_details == '{_DENIED}{{Jwt_is_missing}}'"),
            "No token was given: send one of yours as 'Authorization: Bearer TOKEN'.",
            code="invalid_token",
        ),
        shaped(
            cel(f"response.code_details.startsWith('{_DENIED}')"),
            "The token was refused: %LOCAL_REPLY_BODY%.",
            code="invalid_token",
        ),
    ]
