"""The value of an OAuth 2.0 client that registered itself: identifier and secret, since both change."""

import orjson

from moltbot_operator.api import OAuth2Auth

__all__ = ["client_of", "client_value"]


def client_value(client_id: str, secret: str) -> str:
    """The compact JSON object that is stored and given to the agent."""
    return orjson.dumps({"client_id": client_id, "client_secret": secret}).decode()


def client_of(oauth2: OAuth2Auth, value: str) -> tuple[str, str]:
    """Identifier and secret: both from a value as above, else the spec's identifier and the value."""
    if value.startswith("{"):
        try:
            document = orjson.loads(value)
        except orjson.JSONDecodeError:
            document = None
        if isinstance(document, dict):
            client_id, secret = document.get("client_id"), document.get("client_secret")
            if isinstance(client_id, str) and isinstance(secret, str):
                return client_id, secret
    return oauth2.client_id or "", value
