"""Backends whose credentials are issued by test servers, and what their specs refer to."""

import time
from datetime import timedelta
from typing import Any

from moltbot_operator.api import CaRef, ModelBackendSpec, SecretKeyRef
from moltbot_operator.errors import InvalidInput
from moltbot_operator.providers.issuers import Hosts, Issuers

__all__ = ["FORMS", "UID", "Objects", "backend", "issuers", "registering", "webhook"]

UID = "6f1c2a34-0000-4000-8000-0123456789ab"
FORMS = ("openai", "openrouter", "litellm", "generic")


class Objects:
    """A Reader of what is in a dictionary."""

    def __init__(self, **values: str) -> None:
        self.values = values

    async def secret(self, ref: SecretKeyRef) -> str:
        if ref.name not in self.values:
            raise InvalidInput(f"Secret {ref.name} does not exist: create it")
        return self.values[ref.name]

    async def ca(self, ref: CaRef) -> str:
        return self.values[ref.name]


def issuers(timeout: float = 10.0, **hosts: Any) -> Issuers:
    """With short timeouts, and no limit of rates unless given."""
    given = {"rate": 1000.0, "burst": 1000, "at_once": 100, **hosts}
    clock = given.pop("clock", time.monotonic)
    return Issuers(
        Hosts(clock, **given), loopback=True, timeout=timedelta(seconds=timeout), pauses_s=(0.0, 0.0)
    )


def webhook(form: str, url: str) -> dict[str, Any]:
    """`rotation.issuer.webhook` in one of the forms."""
    secret = {"secretRef": {"name": "admin", "key": "key"}}
    match form:
        case "openai":
            return {"preset": "OpenAIAdmin", "url": f"{url}/v1", "project": "proj_1", **secret}
        case "openrouter":
            return {"preset": "OpenRouter", "url": f"{url}/api/v1", **secret}
        case "litellm":
            return {"preset": "LiteLLM", "url": url, **secret}
    return {
        **secret,
        "list": {
            "method": "GET",
            "url": f"{url}/keys",
            "idPath": "$.items[*].id",
            "namePath": "$.items[*].label",
        },
        "create": {
            "url": f"{url}/keys",
            "body": '{"label": "{name}", "note": {"rotation": "{rotation}"}}',
            "idPath": "$.id",
            "valuePath": "$.secret.value",
        },
        "revoke": {"method": "DELETE", "url": f"{url}/keys/{{id}}"},
    }


def backend(url: str, issuer: dict[str, Any], auth: dict[str, Any] | None = None, **spec: Any):
    """A backend at `url` whose credential the issuer makes."""
    key = {"type": "APIKey", "apiKey": {"secretRef": {"name": "key", "key": "key"}}}
    given = {"provider": "Custom", "endpoint": {"url": url}, "auth": auth or key, **spec}
    return ModelBackendSpec.model_validate({**given, "rotation": {"issuer": issuer}})


def registering(url: str, identity: Any, **oauth2: Any):
    """A backend whose OAuth 2.0 client registers itself."""
    registration = {
        "registrationUrl": f"{identity.url}/register",
        "initialAccessTokenRef": {"name": "initial", "key": "token"},
    }
    auth = {"type": "OAuth2", "oauth2": {"tokenUrl": identity.token_url, **oauth2}}
    issuer = {"type": "DynamicRegistration", "dynamicRegistration": registration}
    return backend(url, issuer, auth)
