import pytest

from moltbot_operator.api import ModelBackendSpec, unsupported_backend

SECRET = {"name": "a", "key": "b"}


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ({}, []),
        ({"auth": {"type": "APIKey", "apiKey": {"secretRef": SECRET}}, "circuitBreaker": {}}, []),
        ({"limits": {"maxConnections": 1, "maxPendingRequests": 1}}, []),
        (
            {
                "auth": {
                    "type": "OAuth2",
                    "oauth2": {"tokenUrl": "https://a.example", "clientId": "a", "clientSecretRef": SECRET},
                }
            },
            [],
        ),
        (
            {
                "auth": {
                    "type": "JWT",
                    "jwt": {"issuer": "a", "subject": "b", "audience": "c", "signingKey": {"managed": True}},
                },
                "rotation": {"issuer": {"type": "ManagedKey"}},
            },
            [],
        ),
        (
            {
                "auth": {
                    "type": "JWT",
                    "jwt": {
                        "issuer": "a",
                        "subject": "b",
                        "audience": "c",
                        "signingKey": {"secretRef": SECRET},
                    },
                },
                "rotation": {
                    "issuer": {"type": "Webhook", "webhook": {"preset": "OpenRouter", "secretRef": SECRET}}
                },
            },
            ["rotation.issuer.type: Webhook with auth.type: JWT and jwt.signingKey"],
        ),
        ({"limits": {"requestsPerSecond": 5, "burst": 5}}, []),
    ],
)
def test_backends(members: dict[str, object], found: list[str]) -> None:
    assert unsupported_backend(ModelBackendSpec.model_validate({"provider": "OpenAI", **members})) == found
