"""What a revision's workers are made of."""

import json
from base64 import b64decode

from moltbot_operator.api import ModelBackendSpec, MoltBotRouteSpec
from moltbot_operator.compile import BackendRef, BackendSource, RouteSources, compile_route
from moltbot_operator.compile.workloads import Image, Owner, gateway_revision, revision_manifests
from moltbot_worker.config import WorkerConfig

OWNER = Owner("shop", "assistant", "uid-1")
REF = BackendRef("shop", "a")
STORE = {"type": "Redis", "url": "redis://redis:6379/0", "secretRef": {"name": "redis", "key": "password"}}


def revision(image="registry.example/gateway:1", **rule):
    spec = {
        "rules": [{"name": "r", "candidates": [{"backend": "a"}], **rule}],
        "consumers": [{"name": "anyone", "auth": {"anonymous": {}}, "backends": ["a"]}],
        "worker": {"replicas": 3, "store": STORE},
    }
    backend = ModelBackendSpec.model_validate({"provider": "Custom", "endpoint": {"url": "http://a.example"}})
    sources = RouteSources(
        "shop", "assistant", MoltBotRouteSpec.model_validate(spec), {REF: BackendSource(REF, backend)}
    )
    return gateway_revision(OWNER, sources.spec.gateway, compile_route(sources), Image(image))


CACHE = {"cache": {"warmUp": {"configMapRef": {"name": "templates"}}}}


def manifests(made):
    found = revision_manifests(OWNER, made, 2, token="random", operator_namespace="moltbot-system")
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def test_a_route_that_asks_for_nothing_has_no_workers():
    made = revision()
    assert set(manifests(made)) == {
        ("ConfigMap", f"assistant-gw-{made.name}-0"),
        ("Deployment", f"assistant-gw-{made.name}"),
    }


def test_every_object_of_the_workers_belongs_to_the_revision():
    made = revision(**CACHE)
    workers = {key: each for key, each in manifests(made).items() if "-worker-" in key[1]}
    assert {kind for kind, _ in workers} == {
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Secret",
        "Service",
    }
    for each in workers.values():
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/component"] == "worker"
        assert labels["moltbot.io/revision"] == made.name
        assert each["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


def test_nobody_but_the_scaler_says_how_many_workers_there_are():
    made = revision(**CACHE)
    assert "replicas" not in manifests(made)["Deployment", f"assistant-worker-{made.name}"]["spec"]


def test_the_pods_of_workers_are_restricted_and_get_no_credential_of_a_provider():
    made = revision(**CACHE)
    pod = manifests(made)["Deployment", f"assistant-worker-{made.name}"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    [container] = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "96Mi"}
    secrets = {each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    assert secrets == {f"assistant-worker-{made.name}", "assistant-gw-evidence", "redis"}
    paths = {each["mountPath"] for each in container["volumeMounts"]}
    config = made.compiled.worker
    for file in (config.gateway.key, config.store.password, config.evidence_token, config.jobs.webhook_key):
        assert str(file.parent) in paths
    assert str(config.rules[0].cache.warm_up.files[0]) in paths


def test_the_workers_are_told_the_revision_that_names_and_labels_have():
    made = revision(**CACHE)
    found = manifests(made)
    told = found["ConfigMap", f"assistant-worker-{made.name}"]["data"]["worker.json"]
    config = WorkerConfig.model_validate_json(told)
    assert config.revision == made.name
    assert config.gateway.url == f"http://assistant-gw-{made.name}.shop.svc:8090"
    calls = found["Service", f"assistant-gw-{made.name}"]["spec"]
    assert calls["selector"] == OWNER.selector(made.name)
    assert calls["ports"][0]["port"] == 8090
    workers = found["Service", f"assistant-worker-{made.name}"]["spec"]
    assert workers["clusterIP"] == "None"
    assert workers["selector"] == OWNER.worker_selector(made.name)


def test_gateway_and_workers_mount_the_same_secret_and_envoy_gets_no_more_than_it_checks_with():
    made = revision(**CACHE)
    found = manifests(made)
    secret = found["Secret", f"assistant-worker-{made.name}"]["data"]
    pod = found["Deployment", f"assistant-gw-{made.name}"]["spec"]["template"]["spec"]
    [volume] = [each for each in pod["volumes"] if each["name"] == "worker-secret"]
    assert {each["key"] for each in volume["secret"]["items"]} == {"users", "sds.json"}
    sds = json.loads(b64decode(secret["sds.json"]))
    inline = sds["resources"][0]["generic_secret"]["secret"]["inline_string"]
    assert inline == b64decode(secret["key"]).decode()
    [envoy] = pod["containers"]
    assert "worker-secret" in {each["name"] for each in envoy["volumeMounts"]}
    [agent] = pod["initContainers"]
    assert "worker-secret" not in {each["name"] for each in agent["volumeMounts"]}


def test_only_the_revisions_own_gateway_may_send_requests_to_its_workers():
    made = revision(**CACHE)
    policy = manifests(made)["NetworkPolicy", f"assistant-worker-{made.name}"]["spec"]
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
    assert rules[8080] == [{"podSelector": {"matchLabels": OWNER.selector(made.name)}}]
    assert rules[9090] is None


def test_another_image_is_another_revision_of_gateway_and_workers():
    assert revision("one", **CACHE).name != revision("two", **CACHE).name


def test_names_of_the_longest_route_are_labels():
    owner = Owner("n", "r" * 40, "u")
    for name in (owner.worker("0" * 10), owner.calls("0" * 10)):
        assert len(name) <= 63
