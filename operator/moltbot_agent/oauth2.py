"""OAuth 2.0 client credentials: the request to a token endpoint, and what its answer means (no I/O).

Source: RFC 6749 §2.3.1, §4.4, §5; RFC 6750 §1.1.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from moltbot_agent.config import FetchedToken

__all__ = [
    "ANSWER_BYTES",
    "DEFAULT_LIFE_S",
    "Grant",
    "Refused",
    "TokenRequest",
    "client_of",
    "grant",
    "token_request",
]

ANSWER_BYTES: Final = 64 * 1024
"""Longest answer that is read; a token goes into a header, which is shorter."""

TOKEN_LENGTH: Final = 16 * 1024

DEFAULT_LIFE_S: Final = 300.0
"""Life of a token whose answer has no `expires_in`, which RFC 6749 only recommends: short, since such a token
may be valid for a few minutes only, and long enough that the endpoint is asked every three minutes."""

LONGEST_LIFE_S: Final = 365 * 24 * 3600.0

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""A bearer token is sent in a header after a space (RFC 6750 §2.1), so it has none itself."""

_ERROR: Final = re.compile(r"[a-z][a-z_]{0,39}")
"""`error` of a refusal (RFC 6749 §5.2), as far as we repeat it; what else it says may quote the request."""


class Refused(Exception):  # noqa: N818
    """No token came of it; the message says why, without any secret."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class TokenRequest:
    """What is sent to the endpoint."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Grant:
    """A token and its life in seconds."""

    token: str = field(repr=False)
    life_s: float


def client_of(wanted: FetchedToken, source: str) -> tuple[str, str]:
    """Identifier and secret: both from a source that is an object with both, else it is the secret."""
    if source.startswith("{"):
        document = _object(source.encode())
        if document is not None:
            pair = document.get("client_id"), document.get("client_secret")
            if isinstance(pair[0], str) and isinstance(pair[1], str):
                return pair[0], pair[1]
    return wanted.client_id, source


def token_request(wanted: FetchedToken, source: str) -> TokenRequest:
    """The request for a token (RFC 6749 §4.4.2), form-encoded."""
    client_id, secret = client_of(wanted, source)
    form = {"grant_type": "client_credentials"}
    if wanted.scopes:
        form["scope"] = " ".join(wanted.scopes)
    if wanted.audience is not None:
        form["audience"] = wanted.audience
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    if wanted.authentication == "ClientSecretPost":
        form |= {"client_id": client_id, "client_secret": secret}
    else:
        # %20 and not + for a space: servers that decode a URL instead of a form understand it too
        pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return TokenRequest(headers, urlencode(form).encode())


def grant(status: int, headers: Mapping[str, str], body: bytes) -> Grant:
    """What an answer grants. Raises Refused for anything but a bearer token that a header can carry."""
    if 300 <= status < 400:  # noqa: PLR2004
        raise Refused(f"answered {status}, a redirect, which is not followed: write its target as tokenUrl")
    if len(body) > ANSWER_BYTES:
        raise Refused(f"answered with more than {ANSWER_BYTES} bytes")
    document = _object(body)
    if status != 200:  # noqa: PLR2004
        raise Refused(_refusal(status, document), _seconds(headers.get("retry-after")))
    if document is None:
        raise Refused("answered 200 with something that is no JSON object")
    kind = document.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Refused("answered with a token_type that is not Bearer, the only one that can be used")
    token = document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Refused("answered without an access_token that a header can carry")
    if len(token) > TOKEN_LENGTH:
        raise Refused(f"answered with an access_token of more than {TOKEN_LENGTH} characters")
    return Grant(token, _life(document.get("expires_in")))


def _life(expires_in: Any) -> float:
    """Seconds; also from a string of digits, which some servers send."""
    if expires_in is None:
        return DEFAULT_LIFE_S
    if isinstance(expires_in, str) and re.fullmatch(r"[0-9]{1,12}", expires_in):
        expires_in = int(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int) or expires_in <= 0:
        raise Refused("answered with an expires_in that is no positive number of seconds")
    return float(min(expires_in, LONGEST_LIFE_S))


def _refusal(status: int, document: dict[str, Any] | None) -> str:
    error = (document or {}).get("error")
    if not isinstance(error, str) or not _ERROR.fullmatch(error):
        return f"answered {status}"
    remedy = {
        "invalid_client": "; check clientId, clientSecretRef and clientAuthentication",
        "invalid_scope": "; check scopes",
        "unauthorized_client": "; the client may not use the grant client_credentials",
        "unsupported_grant_type": "; the server does not know the grant client_credentials",
    }.get(error, "")
    return f"answered {status} {error}{remedy}"


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its form as a date is not worth a clock that may differ."""
    return float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,6}", retry_after.strip()) else None
