"""Any valid set of resources compiles to the same bytes each time, refers to nothing that is missing, and is
a configuration that real Envoy takes.
"""

import os
import shutil
import ssl
from pathlib import Path

import pytest
from compile_given import backend, compiled, jwt, oauth2, rule
from envoy_check import dangling, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltbot_operator.api import NEEDS_ENDPOINT, AuditField, Provider
from moltbot_operator.compile import Files, WorkerFiles, worker_secret

SETS = int(os.environ.get("MOLTBOT_SETS", "100"))
"""Sets of resources that are made; `make test-unit`, and with it CI, makes 800. At least five in eight come
to different configurations, so 500, and Envoy is asked of each of those, for about 50 ms.
"""

NAMES = ["a", "b", "c", "models/d", "e"]
MODELS = st.sampled_from(["gpt-4o", "o*", 'x"y\\z', "a.b", "auto", "中".encode().hex()])
MILLISECONDS = st.integers(1, 90_000).map(lambda number: f"{number}ms")
PATHS = st.one_of(
    st.builds(lambda value: {"type": "Exact", "value": value}, st.sampled_from(["/v1/x", "/a%20b"])),
    st.builds(lambda value: {"type": "Prefix", "value": value}, st.sampled_from(["/", "/a", "/a/", "/a;b"])),
    st.builds(
        lambda value: {"type": "Regex", "value": value},
        st.sampled_from(["^/tech/", "^/x$", "(?i)a+", r"\d{3}|[^/]+$", "(", r"\pL", "(?=x)", "a{1000}"]),
    ),
)
HEADERS = st.lists(
    st.sampled_from(
        [
            {"name": "X-Team", "value": "blue"},
            {"name": "x-n", "type": "Regex", "value": "[0-9]+"},
            {"name": "x-bad", "type": "Regex", "value": "(?!x)"},
        ]
    ),
    max_size=2,
    unique_by=lambda header: header["name"],
)
MATCHES = st.lists(
    st.fixed_dictionaries(
        {"path": PATHS},
        optional={
            "headers": HEADERS,
            "model": st.lists(MODELS, min_size=1, max_size=3, unique=True),
            "task": st.sampled_from(["Dialog", "Code", "Multimodal", "Embedding"]),
        },
    ),
    max_size=3,
)


TOKENS = st.one_of(
    st.builds(
        oauth2,
        st.sampled_from(["one", "two"]),
        scopes=st.lists(st.sampled_from(["a", "b"]), unique=True),
        caRef=st.fixed_dictionaries(
            {"name": st.just("corp"), "kind": st.sampled_from(["Secret", "ConfigMap"])}
        ),
        clientAuthentication=st.sampled_from(["ClientSecretBasic", "ClientSecretPost"]),
    ),
    st.builds(
        jwt,
        st.sampled_from(["one", None]),
        ttl=st.sampled_from(["30s", "24h"]),
        algorithm=st.sampled_from(["ES256", "ES384", "RS256", "PS256", "EdDSA"]),
    ),
)


def _key(name, **how):
    return {"type": "APIKey", "apiKey": {"secretRef": {"name": name, "key": "token"}, **how}}


AUTH = [
    _key("one"),
    _key("one", header="X-Key"),
    _key("two", header="x-api-key", prefix="Key "),
    _key("one", prefix=""),
]
"""Every kind of credential, and how it is sent."""


def files_with_cas(folder):
    """Private CAs are where a pod has them: Envoy reads them at once. One certificate each, for speed."""
    first, end, _ = (
        Path(ssl.get_default_verify_paths().cafile).read_text().partition("-----END CERTIFICATE-----\n")
    )
    (folder / "system.crt").write_text(first + end)
    for name in NAMES:
        own = folder / "ca" / (name.replace("/", "_") if "/" in name else f"default_{name}")
        own.mkdir(parents=True)
        shutil.copy(folder / "system.crt", own / "ca.crt")
    (folder / "secret").mkdir()
    for name, content in worker_secret("seed", "revision").items():
        (folder / "secret" / name).write_text(content)
    worker = WorkerFiles(secret=str(folder / "secret"))
    return Files(ca=str(folder / "ca"), system_ca=str(folder / "system.crt"), worker=worker)


@st.composite
def backends(draw, name):
    more = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "model": MODELS.filter(lambda model: "*" not in model),
                "secret": st.sampled_from(["one", "two"]),
                "endpoint": st.sampled_from(
                    [
                        {"url": "https://api.example.com"},
                        {"url": "http://192.0.2.1:8000/"},
                        {"url": "http://[2001:db8::1]:8000/x/y/"},
                        {"url": "https://h/p", "tls": {"serverName": "s.example"}},
                        {"url": "https://h/p", "protocol": "HTTP2"},
                        {"url": "https://h/p", "protocol": "HTTP1"},
                        {"url": "http://h/p", "protocol": "HTTP2"},
                        {"service": {"name": "vllm", "port": 8000, "pathPrefix": "/"}},
                        {"service": {"name": "vllm", "port": 443}, "tls": {"caRef": {"name": "corp"}}},
                        {"url": "https://192.0.2.1", "tls": {"caRef": {"kind": "Secret", "name": "corp"}}},
                    ]
                ),
                "provider": st.sampled_from([str(provider) for provider in Provider]),
                "auth": st.one_of(st.sampled_from(AUTH), TOKENS),
                "limits": st.sampled_from(
                    [
                        {"maxConnections": 1},
                        {"maxConnections": 5, "maxPendingRequests": 5},
                        {"requestsPerSecond": 1},
                        {"requestsPerSecond": 5, "burst": 50, "maxConnections": 5},
                    ]
                ),
                "capabilities": st.lists(st.sampled_from(["Dialog", "Code", "Embedding"]), unique=True),
                "circuitBreaker": st.just({"errorRatePercent": 1}),
                "timeouts": st.fixed_dictionaries({"firstByte": MILLISECONDS, "idle": MILLISECONDS}),
            },
        )
    )
    if Provider(more.get("provider", "Custom")) not in NEEDS_ENDPOINT:
        more.setdefault("endpoint", None)  # where the preset says
    return backend(name, draw(st.sampled_from([None, None, None, "SecretNotFound"])), **more)


@st.composite
def rules(draw, name):
    named = draw(st.lists(st.sampled_from([*NAMES, "gone"]), min_size=1, max_size=5, unique=True))
    cut = draw(st.integers(1, len(named)))
    weights = draw(st.lists(st.integers(0, 1_000_000), min_size=cut, max_size=cut).filter(any))
    conditions = ["ConnectFailure", "Reset", "5xx", "429", "PerTryTimeout", "401", "403"]
    failover = draw(
        st.fixed_dictionaries(
            {"maxRetries": st.integers(0, 10)},
            optional={
                "perTryTimeout": MILLISECONDS,
                "retryOn": st.lists(st.sampled_from(conditions), unique=True),
                "backoff": st.sampled_from([{"base": "1ms", "max": "1ms"}, {"base": "1s", "max": "10m"}]),
            },
        )
    )
    return rule(
        name,
        dict(zip(named[:cut], weights, strict=True)),
        named[cut:],
        failover=failover,
        matches=draw(MATCHES),
        selection=draw(st.sampled_from(["Weighted", "LowestLatency"])),
        **draw(FEATURES),
    )


FEATURES = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "cache": st.sampled_from([{}, {"scope": "Route", "warmUp": {"configMapRef": {"name": "t"}}}]),
            "coalesce": st.booleans(),
            "async": st.just({"queue": "q"}),
            "aggregate": st.builds(
                lambda names: {"strategy": "All", "backends": names},
                st.lists(st.sampled_from([*NAMES, "gone"]), min_size=2, max_size=3, unique=True),
            ),
        },
    ),
)
"""What leads to the worker."""


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
LIMITS = {"web": {"limits": {"requestsPerSecond": 1, "burst": 1_000_000}}, "batch": {}}
ANYONE = [{"name": "anyone", "auth": {"anonymous": {}}, "backends": NAMES}]
CONSUMERS = st.one_of(
    st.sampled_from([[], ANYONE, ANYONE, ANYONE]),
    st.lists(st.sampled_from(NAMES), unique=True).map(
        lambda names: [
            {
                "name": "anyone",
                "auth": {"anonymous": {}},
                "backends": names,
                **LIMITS["web" if len(names) == 1 else "batch"],
            }
        ]
    ),
    st.builds(
        lambda names, jwt: [
            {
                "name": name,
                "auth": {"apiKey": {"secretRef": {"name": name}}} if name == "batch" else {"jwt": jwt},
                "backends": NAMES[: 2 + len(name)],
                **LIMITS[name],
            }
            for name in names
        ],
        st.lists(st.sampled_from(["web", "batch"]), min_size=1, unique=True),
        st.fixed_dictionaries(
            {
                "issuer": st.sampled_from(["https://issuer.example", 'x"y\\z]]', "中"]),
                "jwks": st.sampled_from(
                    [
                        {"configMapRef": {"name": "keys", "key": "jwks.json"}},
                        {"url": "https://issuer.example/keys"},
                        {"url": "http://[2001:db8::1]:8080/a$b"},
                        {"url": "http://127.0.0.1/"},
                    ]
                ),
            },
            optional={
                "audiences": st.lists(TEXTS, max_size=2),
                "claims": st.dictionaries(TEXTS, TEXTS, max_size=3),
            },
        ),
    ),
)


FIELDS = st.lists(st.sampled_from([str(field) for field in AuditField if not field.always]), unique=True)
COLLECTORS = st.sampled_from(
    [
        "http://collector:4318/v1/logs",
        "https://Otel.example",
        "https://[2001:db8::1]/a$b",
        "http://127.1/v1/logs",
    ]
)
SPECS = st.fixed_dictionaries(
    {"worker": st.sampled_from([{}, {"store": {"type": "Redis", "url": "rediss://store:6380/1"}}])},
    optional={
        "audit": st.fixed_dictionaries(
            {},
            optional={"fields": FIELDS, "redact": FIELDS, "otlp": st.fixed_dictionaries({"url": COLLECTORS})},
        ).map(lambda audit: {**audit, "destination": "OTLP"} if "otlp" in audit else audit)
    },
)
"""The rest of a route."""


@st.composite
def routes(draw):
    listed = draw(st.lists(st.sampled_from(["one", "two", "models", "x-y"]), min_size=1, unique=True))
    return (
        [draw(rules(name)) for name in listed],
        [draw(backends(name)) for name in NAMES],
        draw(CONSUMERS),
        draw(SPECS),
    )


def test_envoy_takes_any_route(tmp_path):
    """The same sets each time; a set that fails is made as small as possible."""
    files, different = files_with_cas(tmp_path), set()

    @settings(max_examples=SETS, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(routes())
    def take(route):
        *given_route, spec = route
        first, second = (compiled(*given_route, spec=spec, files=files) for _ in range(2))
        assert first.parts == second.parts
        delivered = [first.agent.verifier.template] if first.agent.verifier else []
        assert dangling(first.envoy, *delivered) == set()
        if first.revision not in different:
            assert refusal(first, tmp_path) is None
            different.add(first.revision)

    take()
    assert len(different) >= SETS * 5 // 8


def test_the_check_itself_sees_a_fault(tmp_path):
    result = compiled([rule("r", ["a"], ["b"])], [backend("a"), backend("b")])
    clusters = result.envoy["static_resources"]["clusters"]
    gone = clusters.pop(1)
    assert gone["name"] == "up_b"
    assert dangling(result.envoy) == {"up_b"}
    clusters[0]["connect_timeout"] = "soon"
    assert refusal(result, tmp_path) is not None


@pytest.mark.parametrize("count", [1, 40])
def test_envoy_takes_what_our_own_check_of_expressions_takes(tmp_path, count):
    """Every expression that `fault` lets through is one of Envoy's RE2."""
    from test_re2 import TAKEN

    patterns = [pattern for pattern in TAKEN if pattern] * count
    given_rules = [
        rule(f"r{number}", ["a"], matches=[{"path": {"type": "Regex", "value": pattern}}])
        for number, pattern in enumerate(patterns)
    ]
    result = compiled(given_rules, [backend("a")])
    assert all(each.problem is None for each in result.rules)
    assert refusal(result, tmp_path) is None
