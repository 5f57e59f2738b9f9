import copy

import pytest

from moltbot_operator.api import ModelBackendSpec, MoltBotRouteSpec, unsupported_backend, unsupported_route

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


RULE = {"name": "tech", "candidates": [{"backend": "a"}]}


def route(rule: dict[str, object] | None = None, **members: object) -> MoltBotRouteSpec:
    return MoltBotRouteSpec.model_validate({"rules": [RULE | (rule or {})], **members})


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({}, []),
        ({"matches": [{"model": ["a"]}, {"path": {"value": "/a"}}], "fallback": ["b"]}, []),
        ({"failover": {"retryOn": [401, 403]}}, []),
        ({"coalesce": True, "cache": {}}, []),
        ({"matches": [{"task": "Code"}], "selection": "LowestLatency"}, []),
        ({"failover": {"stream": {}}}, ["rules[tech].failover.stream"]),
        ({"failover": {"retryOn": ["ContextLength"]}}, []),
        ({"cache": {"warmUp": {"configMapRef": {"name": "t"}}}}, ["rules[tech].cache.warmUp"]),
        ({"batch": {}}, ["rules[tech].batch"]),
        ({"async": {}}, ["rules[tech].async"]),
        ({"aggregate": {"strategy": "Vote", "backends": ["a", "b"]}}, ["rules[tech].aggregate"]),
    ],
)
def test_rules(rule: dict[str, object], found: list[str]) -> None:
    assert unsupported_route(route(rule)) == found


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ({"audit": {"destination": "Stdout"}, "rollout": {"strategy": "BlueGreen", "autoPromote": True}}, []),
        ({"consumers": [{"name": "a", "auth": {"apiKey": {"secretRef": {"name": "a"}}}}]}, []),
        ({"worker": {}}, []),
        ({"gateway": {"tls": {"secretRef": {"name": "a"}}}}, []),
        ({"audit": {"fields": ["backend"], "redact": ["consumer"]}}, []),
        ({"audit": {"destination": "OTLP", "otlp": {"url": "http://a.example"}}}, []),
        ({"rollout": {"autoPromote": False, "gates": [{"url": "https://gate.test"}]}}, []),
        (
            {
                "consumers": [
                    {"name": "a", "auth": {"jwt": {"issuer": "i", "jwks": {"url": "https://a.example"}}}},
                    {
                        "name": "b",
                        "auth": {"apiKey": {"secretRef": {"name": "b"}, "rotation": {}}},
                        "limits": {"requestsPerSecond": 5},
                    },
                ]
            },
            [],
        ),
    ],
)
def test_routes(members: dict[str, object], found: list[str]) -> None:
    assert unsupported_route(route(**copy.deepcopy(members))) == found
