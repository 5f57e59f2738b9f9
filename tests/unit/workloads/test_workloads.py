"""The objects that a route owns: what must hold for each, and for all of them together."""

from base64 import b64decode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from moltbot_agent.config import AgentConfig, pack, unpack
from moltbot_operator.api import Gateway
from moltbot_operator.compile.result import CompiledRoute, Mount
from moltbot_operator.compile.workloads import (
    ANNOTATION_SOURCE,
    Foreign,
    GatewayRevision,
    Image,
    Owner,
    copied_object,
    foreign_objects,
    gateway_revision,
    probe_key,
    revision_manifests,
    shared_manifests,
)
from moltbot_operator.compile.workloads.availability import disruption_budget
from moltbot_operator.compile.workloads.volumes import agent_mounts, envoy_mounts, volumes
from moltbot_operator.constants import MAX_ROUTE_NAME
from moltbot_operator.errors import InvalidInput
from moltbot_operator.reconcile.differences import differences

OWNER = Owner("shop", "assistant", "uid-1")
IMAGE = Image("registry.example/gateway:1")
CREDENTIAL = Mount("Secret", "shop", "deepseek", "token", "credential", "shop_pro", "credential")
FOREIGN = Mount("Secret", "ai", "openai", "token", "credential", "ai_max", "credential")
BUNDLE = Mount("ConfigMap", "ai", "ca", "ca.crt", "ca", "ai_max", "ca.crt")
KEYS = Mount("Secret", "shop", "app-keys", None, "consumer", "app", None)


def compiled(*mounts: Mount, parts: int = 1, text: str = "") -> CompiledRoute:
    name = sha256(text.encode()).hexdigest()[:10]
    agent = AgentConfig(
        namespace="shop",
        route="assistant",
        revision=name,
        admin_port=9901,
        bootstrap="/run/moltbot/envoy.json",
    )
    envoy: dict[str, Any] = {"node": {"id": "x", "metadata": {"revision": name}}, "text": text}
    size = len(pack(agent, envoy)[0])
    return CompiledRoute(
        name, agent, envoy, pack(agent, envoy, -(-size // parts)), mounts, rules=(), backends=()
    )


def revision(*mounts: Mount, image: Image = IMAGE, text: str = "", **gateway: Any) -> GatewayRevision:
    return gateway_revision(OWNER, Gateway.model_validate(gateway), compiled(*mounts, text=text), image)


def pod_spec(*mounts: Mount, **gateway: Any) -> dict[str, Any]:
    found: dict[str, Any] = revision(*mounts, **gateway).template["spec"]
    return found


def shared(active: str | None = "a", preview: str | None = "b", **gateway: Any) -> dict[tuple[str, str], Any]:
    manifests = shared_manifests(
        OWNER,
        Gateway.model_validate(gateway),
        operator_namespace="moltbot-system",
        token="t0ken",
        active=active,
        preview=preview,
    )
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}


# --- identity


def test_every_object_is_labelled_and_owned() -> None:
    made = revision(CREDENTIAL)
    for manifest in [*shared().values(), *revision_manifests(OWNER, made, 2)]:
        meta = manifest["metadata"]
        assert meta["namespace"] == "shop"
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "moltbot-operator"
        assert meta["labels"]["moltbot.io/route"] == "assistant"
        (owner,) = meta["ownerReferences"]
        assert owner == {
            "apiVersion": "moltbot.io/v1alpha1",
            "kind": "MoltBotRoute",
            "name": "assistant",
            "uid": "uid-1",
            "controller": True,
        }


def test_names_of_the_longest_route_are_labels() -> None:
    owner = Owner("n", "r" * MAX_ROUTE_NAME, "u")
    for name in (
        owner.gateway,
        owner.evidence,
        owner.preview,
        owner.deployment("0" * 10),
        owner.copy("a", "b" * 253),
    ):
        assert len(name) <= 63


def test_equal_input_gives_equal_objects() -> None:
    assert revision_manifests(OWNER, revision(CREDENTIAL, FOREIGN), 2) == revision_manifests(
        OWNER, revision(CREDENTIAL, FOREIGN), 2
    )


# --- revisions


def test_the_revision_is_in_configuration_labels_and_names_alike() -> None:
    made = revision(CREDENTIAL)
    config_map, deployment = revision_manifests(OWNER, made, 3)
    agent, envoy = unpack([b64decode(value) for value in config_map["binaryData"].values()])
    assert agent.revision == envoy["node"]["metadata"]["revision"] == made.name
    assert config_map["metadata"]["name"] == f"assistant-gw-{made.name}-0"
    assert deployment["metadata"]["name"] == f"assistant-gw-{made.name}"
    for labels in (
        config_map["metadata"]["labels"],
        deployment["metadata"]["labels"],
        deployment["spec"]["selector"]["matchLabels"],
        deployment["spec"]["template"]["metadata"]["labels"],
    ):
        assert labels["moltbot.io/revision"] == made.name
    assert deployment["spec"]["replicas"] == 3
    assert len(made.name) == 10
    assert int(made.name, 16) >= 0


@pytest.mark.parametrize(
    "other",
    [
        revision(CREDENTIAL, text="another configuration"),
        revision(CREDENTIAL, image=Image("registry.example/gateway:2")),
        revision(CREDENTIAL, image=replace(IMAGE, pull_policy="Always")),
        revision(replace(CREDENTIAL, name="another-secret")),
        revision(CREDENTIAL, resources={"limits": {"cpu": "2"}}),
        revision(CREDENTIAL, podTemplate={"spec": {"priorityClassName": "high"}}),
        revision(CREDENTIAL, podTemplate={"metadata": {"annotations": {"a": "b"}}}),
    ],
)
def test_whatever_changes_pods_is_another_revision(other: GatewayRevision) -> None:
    assert other.name != revision(CREDENTIAL).name


@pytest.mark.parametrize("gateway", [{"replicas": 9}, {"service": {"port": 8080}}])
def test_scaling_and_services_are_no_revision(gateway: dict[str, Any]) -> None:
    assert revision(CREDENTIAL, **gateway).name == revision(CREDENTIAL).name


# --- configuration


def test_configuration_is_immutable_and_as_many_parts_as_it_takes() -> None:
    made = revision(CREDENTIAL)
    content = b"".join(made.compiled.parts)
    cut = replace(made, compiled=replace(made.compiled, parts=(content[:100], content[100:])))
    *maps, _ = revision_manifests(OWNER, cut, 1)
    assert [list(each["binaryData"]) for each in maps] == [["part-000"], ["part-001"]]
    assert all(each["immutable"] for each in maps)
    assert b"".join(b64decode(v) for each in maps for v in each["binaryData"].values()) == content
    draft = compiled(CREDENTIAL, parts=3)
    named = gateway_revision(OWNER, Gateway(), draft, IMAGE)
    (config,) = [v for v in named.template["spec"]["volumes"] if v["name"] == "config"]
    assert len(config["projected"]["sources"]) == len(named.compiled.parts)


# --- pods


def test_pods_meet_the_restricted_standard() -> None:
    spec = pod_spec(CREDENTIAL)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec["initContainers"], *spec["containers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert container["resources"]["requests"]
        assert container["image"] == "registry.example/gateway:1"
    assert {kind for volume in spec["volumes"] for kind in volume} == {
        "name", "projected", "secret", "emptyDir",
    }  # fmt: skip


def test_no_container_is_the_first_process_which_would_lose_an_early_sigterm() -> None:
    assert pod_spec()["shareProcessNamespace"] is True


def test_the_agent_is_a_native_sidecar_that_outlives_envoy() -> None:
    spec = pod_spec()
    (agent,), (envoy,) = spec["initContainers"], spec["containers"]
    assert agent["restartPolicy"] == "Always"
    assert agent["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert agent["command"][:3] == ["python", "-m", "moltbot_agent.supervisor"]
    assert "livenessProbe" not in agent  # ending the container would make the pod NotReady
    assert envoy["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8081, "scheme": "HTTP"}
    assert envoy["lifecycle"]["preStop"]["exec"]["command"] == ["python", "-m", "moltbot_agent.drain"]
    assert envoy["command"] == [
        "python",
        "-m",
        "moltbot_agent.envoy",
        "--bootstrap",
        "/run/moltbot/envoy.json",
    ]
    assert spec["terminationGracePeriodSeconds"] == 330


def test_secrets_are_mounted_into_the_agent_alone_and_by_folder() -> None:
    spec = pod_spec(CREDENTIAL, FOREIGN, BUNDLE, KEYS)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["credentials"]["projected"]["sources"] == [
        {
            "secret": {
                "name": OWNER.copy("ai", "openai"),
                "optional": True,
                "items": [{"key": "token", "path": "ai_max/credential"}],
            }
        },
        {
            "secret": {
                "name": "deepseek",
                "optional": True,
                "items": [{"key": "token", "path": "shop_pro/credential"}],
            }
        },
    ]
    assert volumes["ca"]["projected"]["sources"][0]["configMap"]["name"] == OWNER.copy("ai", "ca")
    assert volumes["consumer-0"]["secret"] == {
        "secretName": "app-keys",
        "defaultMode": 0o440,
        "optional": True,
    }
    mounts = {
        container["name"]: {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for container in [*spec["initContainers"], *spec["containers"]]
    }
    assert mounts["envoy"] == {"run": "/run/moltbot", "ca": "/etc/moltbot/ca"}
    assert mounts["agent"] == {
        "config": "/etc/moltbot/config",
        "credentials": "/etc/moltbot/credentials",
        "ca": "/etc/moltbot/ca",
        "consumer-0": "/etc/moltbot/consumers/app",
        "evidence": "/etc/moltbot/evidence",
        "probe": "/etc/moltbot/probe",
        "run": "/run/moltbot",
    }


def test_nothing_is_mounted_that_the_route_does_not_use() -> None:
    assert [volume["name"] for volume in pod_spec()["volumes"]] == ["config", "evidence", "probe", "run"]


def test_two_keys_of_one_secret_are_one_source() -> None:
    second = replace(CREDENTIAL, key="other", folder="shop_max")
    spec = pod_spec(second, CREDENTIAL)
    (volume,) = [v for v in spec["volumes"] if v["name"] == "credentials"]
    (source,) = volume["projected"]["sources"]
    assert [item["key"] for item in source["secret"]["items"]] == ["other", "token"]


# --- spec.gateway.podTemplate and resources


def test_resources_of_the_spec_replace_the_defaults_of_envoy() -> None:
    (envoy,) = pod_spec(resources={"limits": {"memory": "1Gi"}})["containers"]
    assert envoy["resources"] == {"limits": {"memory": "1Gi"}}
    (envoy,) = pod_spec()["containers"]
    assert set(envoy["resources"]) == {"requests"}


def test_the_overlay_merges_like_a_strategic_patch() -> None:
    template = revision(
        podTemplate={
            "metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "enableServiceLinks": None,
                "affinity": {"podAntiAffinity": {}},
                "tolerations": [{"key": "gpu"}],
                "containers": [
                    {
                        "name": "envoy",
                        "env": [{"name": "A", "value": "1"}],
                        "resources": {"limits": {"cpu": "1"}},
                    },
                    {"name": "theirs", "image": "x", "volumeMounts": None},
                ],
                "initContainers": [{"name": "agent", "resources": {"requests": {"cpu": "20m"}}}],
                "volumes": [{"name": "theirs", "emptyDir": {}}],
                "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 5}],
            },
        }
    ).template
    spec = template["spec"]
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"] == {"x": "y"}
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert "enableServiceLinks" not in spec
    envoy, theirs = spec["containers"]
    assert envoy["env"] == [{"name": "A", "value": "1"}]
    assert envoy["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1"}}
    assert envoy["command"][0] == "python"
    assert theirs["name"] == "theirs"
    assert spec["initContainers"][0]["resources"]["requests"] == {"cpu": "20m", "memory": "80Mi"}
    assert [volume["name"] for volume in spec["volumes"]] == ["config", "evidence", "probe", "run", "theirs"]
    assert spec["topologySpreadConstraints"][0]["maxSkew"] == 5
    assert spec["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"


def test_protected_fields_are_left_out_and_named() -> None:
    made = revision(
        CREDENTIAL,
        podTemplate={
            "metadata": {"labels": {"moltbot.io/revision": "x", "moltbot.io/route": "y"}},
            "spec": {
                "hostNetwork": True,
                "serviceAccountName": "admin",
                "automountServiceAccountToken": True,
                "securityContext": {"runAsUser": 0},
                "containers": [{"name": "envoy", "securityContext": {"privileged": True}, "command": ["sh"]}],
                "volumes": [{"name": "credentials", "hostPath": {"path": "/"}}],
            },
        },
    )
    assert made.template == revision(CREDENTIAL).template
    assert made.name == revision(CREDENTIAL).name
    assert set(made.ignored) == {
        "metadata.labels.moltbot.io/revision",
        "metadata.labels.moltbot.io/route",
        "spec.hostNetwork",
        "spec.serviceAccountName",
        "spec.automountServiceAccountToken",
        "spec.securityContext",
        "spec.containers[envoy].securityContext",
        "spec.containers[envoy].command",
        "spec.volumes[credentials]",
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": "envoy"},
        {"containers": ["envoy"]},
        {"initContainers": [{"image": "x"}]},
        {"volumes": {"a": {}}},
        {"containers": [{"name": "envoy", "env": [{"value": "x"}]}]},
        {"imagePullSecrets": "x"},
    ],
)
def test_lists_that_are_none_are_refused_with_the_remedy(spec: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidInput, match=r"podTemplate: \w+ must be a list of objects that each have a name"
    ):
        revision(podTemplate={"spec": spec})


def test_null_lists_change_nothing() -> None:
    nothing = {"spec": {"containers": None, "volumes": None, "imagePullSecrets": None}}
    assert not differences(revision().template, revision(podTemplate=nothing).template)


# --- shared objects


def test_services_select_their_revisions() -> None:
    objects = shared("aaa", "bbb")
    active, preview = objects["Service", "assistant"]["spec"], objects["Service", "assistant-preview"]["spec"]
    assert active["selector"]["moltbot.io/revision"] == "aaa"
    assert preview["selector"]["moltbot.io/revision"] == "bbb"
    assert active["ports"] == [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    assert shared(None)["Service", "assistant"]["spec"]["selector"]["moltbot.io/revision"] == "none"


def test_the_active_service_is_as_the_spec_says_and_the_preview_stays_inside() -> None:
    objects = shared(
        service={"type": "LoadBalancer", "port": 8443, "nodePort": 30000, "annotations": {"lb": "internal"}}
    )
    active, preview = objects["Service", "assistant"], objects["Service", "assistant-preview"]
    assert active["spec"]["type"] == "LoadBalancer"
    assert active["spec"]["ports"][0]["nodePort"] == 30000
    assert active["metadata"]["annotations"] == {"lb": "internal"}
    assert preview["spec"]["type"] == "ClusterIP"
    assert "nodePort" not in preview["spec"]["ports"][0]
    assert "annotations" not in preview["metadata"]


def test_evidence_and_test_requests_are_for_the_operator_alone() -> None:
    policy = shared()["NetworkPolicy", "assistant-gw"]["spec"]
    open_rule, operator_rule, calls_rule = policy["ingress"]
    assert calls_rule == {
        "ports": [{"port": 8090, "protocol": "TCP"}],
        "from": [
            {
                "podSelector": {
                    "matchLabels": {
                        "app.kubernetes.io/component": "worker",
                        "moltbot.io/route": "assistant",
                    }
                }
            }
        ],
    }
    assert [port["port"] for port in open_rule["ports"]] == [8080, 9090]
    assert "from" not in open_rule
    assert [port["port"] for port in operator_rule["ports"]] == [9091, 8082]
    assert operator_rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "moltbot-system"}}}
    ]
    assert policy["egress"] == [{}]


def test_a_drain_takes_one_pod_at_a_time() -> None:
    budget = shared()["PodDisruptionBudget", "assistant-gw"]["spec"]
    assert budget["maxUnavailable"] == 1


@pytest.mark.parametrize(("active", "selected"), [("aaa", "aaa"), (None, "none")])
def test_the_disruption_budget_counts_only_pods_of_the_active_revision(
    active: str | None, selected: str
) -> None:
    budget = disruption_budget(OWNER, active)["spec"]
    assert budget["selector"]["matchLabels"] == OWNER.selector(selected)


def test_the_evidence_secret_holds_the_token() -> None:
    secret = shared()["Secret", "assistant-gw-evidence"]
    assert b64decode(secret["data"]["token"]) == b"t0ken"


def test_the_probes_key_follows_from_the_token_and_does_not_give_it_away() -> None:
    key = b64decode(shared()["Secret", "assistant-gw-evidence"]["data"]["probe"]).decode()
    assert key == probe_key("t0ken") != probe_key("another")
    assert len(key) == 64
    assert "t0ken" not in key


def test_agent_gets_the_two_secrets_apart() -> None:
    volumes = {volume["name"]: volume for volume in pod_spec()["volumes"]}
    assert [item["key"] for item in volumes["evidence"]["secret"]["items"]] == ["token"]
    assert [item["key"] for item in volumes["probe"]["secret"]["items"]] == ["probe"]


# --- copies


def test_only_other_namespaces_are_copied_each_once_with_the_keys_in_use() -> None:
    second = replace(FOREIGN, key="other")
    assert foreign_objects(OWNER, [CREDENTIAL, KEYS, FOREIGN, second, BUNDLE]) == [
        Foreign("ConfigMap", "ai", "ca", ("ca.crt",)),
        Foreign("Secret", "ai", "openai", ("other", "token")),
    ]


def test_a_copy_has_the_keys_in_use_alone_and_names_its_original() -> None:
    foreign = Foreign("Secret", "ai", "openai", ("gone", "token"))
    copy = copied_object(OWNER, foreign, {"data": {"token": "dA==", "unused": "eA=="}})
    assert copy["data"] == {"token": "dA=="}
    assert copy["type"] == "Opaque"
    assert copy["metadata"]["annotations"] == {ANNOTATION_SOURCE: "ai/openai"}
    bundle = copied_object(
        OWNER, Foreign("ConfigMap", "ai", "ca", ("ca.crt",)), {"data": None, "binaryData": {"ca.crt": "eA=="}}
    )
    assert bundle["binaryData"] == {"ca.crt": "eA=="}
    assert "data" not in bundle
    assert "type" not in bundle


def test_public_keys_of_issuers_are_mounted_into_the_agent_alone() -> None:
    found = compiled(Mount("ConfigMap", "shop", "keys", "jwks.json", "jwks", "keys", "jwks.json"))
    (volume,) = [each for each in volumes(OWNER, found) if each["name"] == "jwks"]
    (source,) = volume["projected"]["sources"]
    assert source["configMap"]["optional"]
    assert source["configMap"]["items"] == [{"key": "jwks.json", "path": "keys/jwks.json"}]
    assert {"name": "jwks", "mountPath": "/etc/moltbot/jwks", "readOnly": True} in agent_mounts(found.mounts)
    assert "jwks" not in {each["name"] for each in envoy_mounts(found)}
