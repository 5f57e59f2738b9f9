"""What is wrong with a resource is said by its conditions, with the remedy: a table against the real API
server.

These are inputs that the schema lets through; `test_schema*.py` has those that it refuses.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from api_bed import ApiBed
from standins import Bench, anyone, api_key, backend, condition, eventually, route, rule, secret

from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.connection import Connection
from moltbot_operator.kube.kinds import MODEL_BACKEND, MOLTBOT_ROUTE
from moltbot_operator.settings import Settings

pytestmark = [pytest.mark.api, pytest.mark.asyncio(loop_scope="module")]

NS = "conditions"
OTHER = "conditions-other"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`objects` lead to a condition on the last of them: `type`=`status`, `reason`, and a message with
    `says`.
    """

    objects: list[Manifest]
    type: str
    status: str
    reason: str
    says: str = ""
    also: dict[str, str] = field(default_factory=dict)
    """Further conditions of the same object, by type: their status."""


def ca(kind: str, name: str, key: str) -> Manifest:
    return {"url": "https://model.example:9", "tls": {"caRef": {"kind": kind, "name": name, "key": key}}}


def consumer(**auth: Any) -> list[Manifest]:
    return [{"name": "app", "auth": auth, "backends": ["ok"]}]


def on_backend(
    name: str, type_: str, status: str, reason: str, says: str = "", *before: Manifest, **spec: Any
) -> Case:
    also = {"Ready": "False"} if status == "False" else {}
    return Case([*before, backend(NS, name, **spec)], type_, status, reason, says, also)


def unresolved(
    name: str, reason: str, says: str, rules: list[Manifest], *before: Manifest, **spec: Any
) -> Case:
    return Case([*before, route(NS, name, rules, **spec)], "ResolvedRefs", "False", reason, says)


CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "cas", "namespace": NS},
    "data": {"x": "y"},
}

UNROTATABLE = {
    "type": "JWT",
    "jwt": {"issuer": "i", "subject": "s", "audience": "a", "signingKey": {"managed": True}},
}
"""With an External issuer: the operator would make a key that somebody else is to fill."""

CASES = {
    # a backend
    "backend without credential": on_backend("b-none", "CredentialReady", "True", "NoCredentialNeeded"),
    "backend with credential": on_backend(
        "b-key",
        "CredentialReady",
        "True",
        "CredentialReady",
        "",
        secret(NS, "s-good", token="k\n"),
        auth=api_key("s-good"),
    ),
    "backend without objectives": on_backend("b-obj", "ObjectivesMet", "Unknown", "NoObjectives"),
    "secret missing": on_backend(
        "b1",
        "CredentialReady",
        "False",
        "SecretNotFound",
        "create it with key token",
        auth=api_key("nowhere"),
    ),
    "key missing": on_backend(
        "b2",
        "CredentialReady",
        "False",
        "SecretKeyNotFound",
        "names key other",
        secret(NS, "s2", token="k"),
        auth=api_key("s2", "other"),
    ),
    "credential empty": on_backend(
        "b3",
        "CredentialReady",
        "False",
        "SecretValueUnusable",
        "is empty",
        secret(NS, "s3", token="\n"),
        auth=api_key("s3"),
    ),
    "credential of two lines": on_backend(
        "b4",
        "CredentialReady",
        "False",
        "SecretValueUnusable",
        "line break",
        secret(NS, "s4", token="a\nb"),
        auth=api_key("s4"),
    ),
    "credential not ASCII": on_backend(
        "b5",
        "CredentialReady",
        "False",
        "SecretValueUnusable",
        "header can't carry",
        secret(NS, "s5", token="schlüssel"),
        auth=api_key("s5"),
    ),
    "CA ConfigMap missing": on_backend(
        "b6",
        "ResolvedRefs",
        "False",
        "ConfigMapNotFound",
        "caRef names ConfigMap",
        endpoint=ca("ConfigMap", "nowhere", "ca.crt"),
    ),
    "CA key missing": on_backend(
        "b7",
        "ResolvedRefs",
        "False",
        "ConfigMapKeyNotFound",
        "lacks: add it",
        CONFIG_MAP,
        endpoint=ca("ConfigMap", "cas", "ca.crt"),
    ),
    "CA Secret missing": on_backend(
        "b8",
        "ResolvedRefs",
        "False",
        "SecretNotFound",
        "caRef names Secret",
        endpoint=ca("Secret", "nowhere", "ca.crt"),
    ),
    "rotation": on_backend(
        "b11",
        "Accepted",
        "False",
        "NotSupportedYet",
        "spec.rotation.issuer.type",
        auth=UNROTATABLE,
        rotation={"issuer": {"type": "External"}},
    ),
    "objectives without traffic": on_backend(
        "b13",
        "ObjectivesMet",
        "Unknown",
        "NoData",
        "no gateway",
        objectives={"latency": {"percentile": 95, "threshold": "300ms"}},
    ),
    "accuracy feed missing": on_backend(
        "b-feed",
        "ObjectivesMet",
        "Unknown",
        "FeedUnusable",
        "ConfigMap nowhere does not exist",
        objectives={
            "accuracy": {"minimum": 0.9, "feed": {"configMapRef": {"name": "nowhere", "key": "score"}}}
        },
    ),
    # a route and what it refers to
    "backend missing": unresolved(
        "r1", "BackendNotFound", "conditions/nowhere does not exist: create it", [rule("r", "nowhere")]
    ),
    "fallback missing": unresolved(
        "r2", "BackendNotFound", "nowhere", [rule("r", "ok", fallback=["nowhere"])]
    ),
    "scope names a missing backend": unresolved(
        "r3", "BackendNotFound", "nowhere", [rule("r", "ok")], consumers=anyone("ok", "nowhere")
    ),
    "backend of another namespace missing": unresolved(
        "r4", "BackendNotFound", f"{OTHER}/nowhere", [rule("r", f"{OTHER}/nowhere")]
    ),
    "no consent": unresolved(
        "r5", "NotAllowed", "spec.allowedRoutes", [rule("r", f"{OTHER}/closed")], backend(OTHER, "closed")
    ),
    "selector without this namespace": unresolved(
        "r6",
        "NotAllowed",
        "label namespace conditions",
        [rule("r", f"{OTHER}/some")],
        backend(
            OTHER,
            "some",
            allowedRoutes={"namespaces": "Selector", "selector": {"matchLabels": {"team": "x"}}},
        ),
    ),
    "backend refused": unresolved(
        "r7",
        "BackendNotAccepted",
        "is not accepted",
        [rule("r", "b-limited")],
        backend(
            NS,
            "b-limited",
            auth=UNROTATABLE,
            rotation={"issuer": {"type": "External"}},
        ),
    ),
    "backend without its secret": unresolved(
        "r8",
        "SecretNotFound",
        "apiKey.secretRef names Secret conditions/nowhere",
        [rule("r", "b-keyless")],
        backend(NS, "b-keyless", auth=api_key("nowhere")),
    ),
    "consumer secret missing": unresolved(
        "r9",
        "SecretNotFound",
        "consumers[app].auth.apiKey",
        [rule("r", "ok")],
        consumers=consumer(apiKey={"secretRef": {"name": "nowhere"}}),
    ),
    "consumer secret without keys": unresolved(
        "r10",
        "SecretKeyNotFound",
        "has no key",
        [rule("r", "ok")],
        secret(NS, "s-empty"),
        consumers=consumer(apiKey={"secretRef": {"name": "s-empty"}}),
    ),
    "consumer key of two lines": unresolved(
        "r11",
        "SecretValueUnusable",
        "key bad in Secret",
        [rule("r", "ok")],
        secret(NS, "s-bad", bad="a\nb", good="k"),
        consumers=consumer(apiKey={"secretRef": {"name": "s-bad"}}),
    ),
    "loop to itself": unresolved(
        "r12",
        "Loop",
        "in circles",
        [rule("r", "b-loop")],
        backend(NS, "b-loop", endpoint={"service": {"name": "r12", "port": 80}}),
    ),
    "loop by another route": unresolved(
        "r13",
        "Loop",
        "in circles",
        [rule("r", "to-r14")],
        backend(NS, "to-r14", endpoint={"url": "http://r14.conditions.svc.cluster.local/v1"}),
        backend(NS, "to-r13", endpoint={"service": {"name": "r13-preview", "port": 80}}),
        route(NS, "r14", [rule("r", "to-r13")]),
    ),
    "certificate missing": unresolved(
        "n12",
        "SecretNotFound",
        "create it; pods start with it only",
        [rule("r", "ok")],
        gateway={"tls": {"secretRef": {"name": "nowhere"}}},
    ),
    "certificate without key": unresolved(
        "n13",
        "SecretKeyNotFound",
        "lacks the key tls.key",
        [rule("r", "ok")],
        secret(NS, "half", **{"tls.crt": "x"}),
        gateway={"tls": {"secretRef": {"name": "half"}}},
    ),
    "certificate that is none": unresolved(
        "n14",
        "SecretValueUnusable",
        "has no certificate in PEM",
        [rule("r", "ok")],
        secret(NS, "no-pair", **{"tls.crt": "x", "tls.key": "y"}),
        gateway={"tls": {"secretRef": {"name": "no-pair"}}},
    ),
    # what can't be made
    "pod template with a wrong list": Case(
        [
            route(
                NS,
                "p1",
                [rule("r", "ok")],
                gateway={"podTemplate": {"spec": {"containers": [{"image": "x"}]}}},
            )
        ],
        "Accepted",
        "False",
        "CompileFailed",
        "containers must be a list of objects that each have a name",
        {"Stalled": "True"},
    ),
    "pod template with an unknown field": Case(
        [route(NS, "p2", [rule("r", "ok")], gateway={"podTemplate": {"spec": {"nodeSelektor": {}}}})],
        "Stalled",
        "True",
        "ApplyRejected",
        "nodeSelektor",
        {"Accepted": "True", "Programmed": "False"},
    ),
    "pod template with a wrong value": Case(
        [route(NS, "p3", [rule("r", "ok")], gateway={"podTemplate": {"spec": {"dnsPolicy": "Nobody"}}})],
        "Stalled",
        "True",
        "ApplyRejected",
        "dnsPolicy",
        {"Accepted": "True", "Programmed": "False"},
    ),
    "pod template with a protected field": Case(
        [route(NS, "p4", [rule("r", "ok")], gateway={"podTemplate": {"spec": {"hostNetwork": True}}})],
        "Accepted",
        "True",
        "Accepted",
        "podTemplate.spec.hostNetwork is the operator's own",
    ),
    "node port out of range": Case(
        [route(NS, "p5", [rule("r", "ok")], gateway={"service": {"type": "NodePort", "nodePort": 1}})],
        "Stalled",
        "True",
        "ApplyRejected",
        "not in the valid range",
    ),
    "name of a foreign Service": Case(
        [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "taken", "namespace": NS},
                "spec": {"ports": [{"port": 1}]},
            },
            route(NS, "taken", [rule("r", "ok")]),
        ],
        "Stalled",
        "True",
        "NameTaken",
        "delete or rename it",
    ),
    # one rule of several
    "a rule without a backend answers 503": Case(
        [route(NS, "q1", [rule("good", "ok"), rule("bad", "nowhere")], consumers=anyone("ok", "nowhere"))],
        "Ready",
        "False",
        "RulesNotServed",
        "1 of 2 rules answer 503 (bad)",
        {"Degraded": "True", "Programmed": "True"},
    ),
    "a rule with what is left of its backends": Case(
        [route(NS, "q2", [rule("r", "ok", "nowhere")], consumers=anyone("ok", "nowhere"))],
        "Degraded",
        "True",
        "PartlyServed",
        "nowhere does not exist",
        {"Ready": "True", "ResolvedRefs": "False"},
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(api_bed: ApiBed, operator_kubeconfig: Path) -> AsyncIterator[Bench]:
    """One operator for all cases: none of them may disturb another."""
    for name in (NS, OTHER):
        api_bed.kubectl("create", "namespace", name)
    settings = Settings(
        kubeconfig=str(operator_kubeconfig),
        own_namespace=NS,
        bind_address="127.0.0.1",
        health_port=0,
        metrics_port=0,
    )
    connection = await Connection.open(str(api_bed.kubeconfig))
    async with connection.session() as session:
        kube = KubeCluster(session, connection.server, timeout=timedelta(seconds=30), identity="test")
        async with Bench(api_bed, kube, settings, NS) as bench:
            await bench.start_operator()
            await bench.apply(backend(NS, "ok"))
            yield bench
            assert bench.operator_runs(), "the operator survives every case"
    for name in (NS, OTHER):
        api_bed.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_fault_is_told_by_a_condition(shared: Bench, case: Case) -> None:
    await shared.apply(*case.objects)
    last = case.objects[-1]
    kind = MOLTBOT_ROUTE if last["kind"] == "MoltBotRoute" else MODEL_BACKEND
    name = last["metadata"]["name"]
    await shared.wait_condition(kind, name, case.type, case.status, reason=case.reason, says=case.says)

    async def others() -> bool:
        found = await shared.get(kind, name)
        return all(
            (condition(found, type_) or {}).get("status") == status for type_, status in case.also.items()
        )

    await eventually(f"{name}: {case.also}", others, 20)
    found = await shared.get(kind, name)
    for each in found["status"]["conditions"]:
        assert each["message"].endswith("."), each
        assert each["observedGeneration"] == found["metadata"]["generation"]


async def test_labels_of_a_namespace_give_consent(shared: Bench) -> None:
    await shared.apply(
        backend(
            OTHER,
            "team",
            allowedRoutes={"namespaces": "Selector", "selector": {"matchLabels": {"team": "y"}}},
        ),
        route(NS, "consent", [rule("r", f"{OTHER}/team")], consumers=anyone(f"{OTHER}/team")),
    )
    await shared.wait_route("consent", "ResolvedRefs", "False", reason="NotAllowed")
    shared.bed.kubectl("label", "namespace", NS, "team=y")
    await shared.wait_route("consent", "Ready", "True")
    shared.bed.kubectl("label", "namespace", NS, "team-")
    await shared.wait_route("consent", "ResolvedRefs", "False", reason="NotAllowed")
