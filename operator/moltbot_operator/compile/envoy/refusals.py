"""Why somebody is not let in, in OpenAI's shape."""

from moltbot_operator.compile.envoy.consumer_limits import LIMITED
from moltbot_operator.compile.envoy.proto import Json, header
from moltbot_operator.compile.envoy.shapes import cel, shaped, status
from moltbot_operator.compile.ir import Gateway

__all__ = ["access_refusals"]


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
    return [
        *made,
        shaped(
            status("EQ", 401),
            "No valid API key was given: send one of yours as 'Authorization: Bearer KEY'.",
            code="invalid_api_key",
        ),
        shaped(
            status("EQ", 403),
            "Your key may not use every backend of rule %ROUTE_NAME%: they are not all in its scope.",
            kind="permission_error",
            code="out_of_scope",
        ),
    ]
