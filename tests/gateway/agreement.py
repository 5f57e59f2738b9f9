"""Routes, requests and faults by chance, and what a real gateway made of them beside what `explain` says.

The rules are those of tests/unit/compile/test_any_route.py; backends are simulated providers here.
"""

import json
import sys
from pathlib import Path

from hypothesis import strategies as st
from moltbot_provider.faults import Fault as Injected

from moltbot_operator.compile import Files
from moltbot_operator.compile.plan import plan
from moltbot_operator.explain import Fault, Request, course, explain
from moltbot_operator.explain.body import Refusal, read_body

sys.path.append(str(Path(__file__).parent.parent / "unit" / "compile"))
from test_any_route import NAMES, rules

__all__ = ["FAULTS", "INJECTED", "KEYS", "NAMES", "objects", "planned", "requests", "routes", "said", "seen"]

INJECTED = {
    Fault.REFUSED: Injected("refuse"),
    Fault.RESET: Injected("reset_before_headers"),
    Fault.STATUS_429: Injected("status", status=429),
    Fault.STATUS_429_LONG: Injected("status", status=429, retry_after="3600"),
    Fault.STATUS_500: Injected("status", status=500),
    Fault.STATUS_503: Injected("status", status=503),
    Fault.STATUS_401: Injected("status", status=401),
    Fault.STATUS_403: Injected("status", status=403),
    Fault.OVERLONG: Injected("context_length"),
}
FAULTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(list(INJECTED)))
KEYS = {"web": "key-of-web", "batch": "key-of-batch"}


def _object(kind, name, spec):
    namespace, _, name = name.rpartition("/")
    metadata = {"name": name, "namespace": namespace or "default"}
    return {"apiVersion": "moltbot.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _tamed(rule):
    """Times that a busy machine can keep, and no workers, which would answer for a backend that asked before.

    Conditions and numbers of attempts stay by chance.
    """
    failover = {**rule["failover"], "backoff": {"base": "1ms", "max": "1s"}, "perTryTimeout": "20s"}
    if len(failover.get("retryOn", [])) % 2:
        failover["retryOn"] = [*dict.fromkeys([*failover["retryOn"], "ContextLength"])]
    of_workers = {"cache", "coalesce", "async", "aggregate"}
    kept = {name: value for name, value in rule.items() if name not in of_workers}
    return {**kept, "failover": failover}


BACKENDS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["gpt-4o", "o3", "a.b"]),
        "limits": st.sampled_from([{"maxConnections": 50}, {"requestsPerSecond": 10_000}]),
        "capabilities": st.lists(st.sampled_from(["Dialog", "Code", "Embedding"]), unique=True),
        "key": st.just("secret-key"),
    },
)


@st.composite
def consumer_lists(draw):
    """Mostly all may use everything: a scope that is too narrow hides the rest."""
    scope = (
        NAMES if draw(st.integers(0, 4)) else draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    )
    if draw(st.booleans()):
        return [{"name": "anyone", "auth": {"anonymous": {}}, "backends": scope}]
    return [
        {"name": name, "auth": {"apiKey": {"secretRef": {"name": name}}}, "backends": listed}
        for name, listed in (("web", NAMES), ("batch", scope))
    ]


@st.composite
def routes(draw):
    """Rules, specs of the backends by name, consumers."""
    listed = draw(st.lists(st.sampled_from(["one", "two", "models", "x-y"]), min_size=1, unique=True))
    backends = {name: draw(BACKENDS) for name in NAMES}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=1)):
        del backends[name]
    made = [_tamed(draw(rules(name))) for name in listed]
    if draw(st.integers(0, 2)):
        made.append({**_tamed(draw(rules("rest"))), "matches": []})
    return made, backends, draw(consumer_lists())


def objects(route, urls):
    """The manifests."""
    listed, backends, consumers = route
    made = [_object("MoltBotRoute", "assistant", {"rules": listed, "consumers": consumers})]
    for name, given in backends.items():
        spec = {
            "provider": "Custom",
            "endpoint": {"url": urls[name]},
            "allowedRoutes": {"namespaces": "All"},
            **given,
        }
        namespace = _object("ModelBackend", name, {})["metadata"]["namespace"]
        if key := spec.pop("key", None):
            secret = f"key-{name.replace('/', '-')}"
            spec["auth"] = {"type": "APIKey", "apiKey": {"secretRef": {"name": secret, "key": "token"}}}
            made.append(_secret(secret, namespace, token=key))
        made.append(_object("ModelBackend", name, spec))
    return [*made, *(_secret(name, "default", key=value) for name, value in KEYS.items())]


def _secret(name, namespace, **values):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": values,
    }


PATHS = [
    *["/v1/chat/completions"] * 4,
    *(
        "/a/v1/chat/completions",
        "/tech/v1/chat/completions",
        "/ab/v1/embeddings",
        "/a/../tech/v1/chat/completions",
    ),
    *(
        "/v1/x",
        "/a%20b",
        "/a%20b/v1/chat/completions",
        "/a;b/v1/chat/completions",
        "/a%2Fv1/chat/completions",
    ),
    *(
        "/123/v1/chat/completions",
        "/A/v1/chat/completions",
        "/nothing",
        "/x",
        "/v1/chat/completions?a=/v1/files",
    ),
    *(
        "/v1/files/f1",
        "/v1/responses/r1",
        "/v1/images/generations",
        "/" + "a" * 1000 + "/v1/chat/completions",
    ),
]
BODIES = [
    {},
    {},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    {"messages": [{"role": "user", "content": "```python\n1\n```"}]},
    {
        "messages": [{"role": "user", "content": '{"type": "image_url"}'}],
        "tools": [{"type": "bash_20250124"}],
        "tool_choice": "none",
    },
]


@st.composite
def requests(draw):
    method = draw(st.sampled_from(["POST"] * 8 + ["GET", "DELETE", "OPTIONS"]))
    path = draw(st.sampled_from([*PATHS, "/v1/models", "/v1/models/gpt-4o"] if method == "GET" else PATHS))
    headers = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "x-team": st.sampled_from(["blue", "red"]),
                "x-n": st.sampled_from(["7", "7x"]),
                "x-moltbot-task": st.sampled_from(["code", "Dialog", "bogus"]),
            },
        )
    )
    body = None
    if method == "POST":
        model = draw(
            st.sampled_from([None, "gpt-4o", "gpt-4o", "o3", "auto", "auto", "a.b", 'x"y\\z', "axb"])
        )
        content = {"messages": [{"role": "user", "content": "hi"}], **draw(st.sampled_from(BODIES))}
        body = json.dumps({**({} if model is None else {"model": model}), **content})
        if draw(st.integers(0, 30)) == 0:
            body = draw(
                st.sampled_from(['{"model": "a", "model": "b"}', '{"model": 1}', "[]", '{"Model": "a"}'])
            )
    consumer = draw(st.sampled_from([None, "web", "web", "web", "batch"]))
    return Request(path=path, method=method, headers=headers, body=body, consumer=consumer)


def planned(manifests):
    """The intermediate form."""
    return plan(manifests.sources(None, {}, Files(loopback=True))).gateway


def said(gateway, request, faults):
    """What may be seen of a request: each as status, backend, attempts, rule and the backends tried."""
    found = explain(gateway, request)
    if found.answered is not None:
        return {(found.answered.status, None, None, ())}
    expected = set()
    for option in found.options:
        if option.refused is not None:
            expected.add((option.refused.status, None, None, ()))
            continue
        body = read_body(request.body)
        unreadable = body.status if isinstance(body, Refusal) else None
        made = course(option.choice.chain, found.rule.retry, faults, unreadable=unreadable)
        expected.add((made.status, found.rule.name, made.tries[-1], made.tries))
    return expected


def seen(answer, record):
    """The same of an answer and its audit record."""
    backend = answer.headers.get("x-moltbot-backend")
    if backend is None:
        return answer.status_code, None, None, ()
    tries = tuple(each["backend"] for each in record["tries"])
    # what a provider without a fault says of an operation that it does not have, is the provider's business
    ordered = "simulated" in answer.text or "maximum context length" in answer.text
    theirs = answer.headers.get("x-provider") or (f"{backend}: " in answer.text and not ordered)
    status = 200 if theirs else answer.status_code
    return status, answer.headers.get("x-moltbot-rule"), backend, tries
