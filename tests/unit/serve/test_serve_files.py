"""What `moltbot serve` reads, and what it says about what it can't use."""

import json
from datetime import UTC, datetime

import pytest
import yaml

from moltbot_operator.compile import Files
from moltbot_operator.errors import InvalidInput
from moltbot_operator.serve.files import KeySecret, read

API = "moltbot.io/v1alpha1"


def backend(name, namespace=None, **spec):
    given = {"provider": "Custom", "endpoint": {"url": f"http://{name}.example"}, **spec}
    return manifest("ModelBackend", name, given, namespace)


def route(name="assistant", namespace=None, backends=("a",), **spec):
    rules = [{"name": "all", "candidates": [{"backend": each} for each in backends]}]
    return manifest("MoltBotRoute", name, {"rules": rules, **spec}, namespace)


def manifest(kind, name, spec, namespace=None):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def keyed(secret="s", key="token"):  # noqa: S107 - names of objects
    return {"type": "APIKey", "apiKey": {"secretRef": {"name": secret, "key": key}}}


def secret(name="s", **more):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **more}


@pytest.fixture
def given(tmp_path):
    def write(*objects, text=None, name="in.yaml"):
        file = tmp_path / name
        file.write_text(yaml.safe_dump_all(objects) if text is None else text)
        return read([file])

    return write


def sources(manifests, route=None, **endpoints):
    return manifests.sources(route, endpoints, Files())


def problem(manifests, name="default/a"):
    found = {str(ref): each.problem for ref, each in sources(manifests).backends.items()}
    return None if found[name] is None else found[name].reason


def consumer_problem(manifests, name="web"):
    found = sources(manifests).consumers[name].problem
    return None if found is None else found.reason


def test_objects_of_several_files(tmp_path):
    (tmp_path / "1.yaml").write_text(yaml.safe_dump_all([route(), None]))
    (tmp_path / "2.yaml").write_text(
        yaml.safe_dump_all([backend("a", auth=keyed()), secret(stringData={"token": "k"})])
    )
    found = read([tmp_path / "1.yaml", tmp_path / "2.yaml"])
    assert sources(found).name == "assistant"
    assert problem(found) is None
    assert found.data["Secret", "default", "s"] == {"token": b"k"}


def test_secrets_in_base64_and_config_maps(given):
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ca"},
        "data": {"ca.crt": "pem"},
    }
    found = given(
        route(), backend("a"), secret(data={"token": "a2V5"}, stringData={"other": "o"}), config_map
    )
    assert found.data["Secret", "default", "s"] == {"token": b"key", "other": b"o"}
    assert found.data["ConfigMap", "default", "ca"] == {"ca.crt": b"pem"}


def test_the_sample_of_the_product(given):
    config = {
        "routes": [
            {
                "pattern": "^/tech/",
                "candidates": [
                    {"model": "dialog_pro", "weight": 0.7},
                    {"model": "dialog_max", "weight": 0.3},
                ],
                "fallback": "code_model_v2",
            }
        ],
        "failover": {"max_retries": 3, "backoff_strategy": "exponential"},
    }
    found = given(text=json.dumps(config), name="models.config.json")
    assert {ref.name for ref in found.backends} == {"dialog-pro", "dialog-max", "code-model-v2"}
    assert len(found.routes) == 1


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([secret(data={"token": "%%%"})], "data.token"),
        ([secret(stringData={"token": 1})], "quote numbers"),
        ([secret(stringData=["x"])], "mapping"),
        ([secret(stringData={"../x": "1"})], "mapping"),
        ([{"kind": "Secret"}], "metadata.name"),
        ([["no object"]], "write objects"),
        ([manifest("Pod", "x", {})], "ModelBackend"),
        ([backend("a", timeouts={"connect": "soon"})], "spec.timeouts.connect"),
        ([backend("a"), backend("a")], "given twice"),
        ([route(), route()], "given twice"),
    ],
)
def test_bad_objects_are_named_with_their_file(given, objects, said):
    with pytest.raises(InvalidInput, match=r"in\.yaml") as error:
        given(*objects)
    assert said in str(error.value)


def test_bad_files(tmp_path, given):
    with pytest.raises(InvalidInput, match="no YAML"):
        given(text="a: [")
    with pytest.raises(InvalidInput, match="can't be read"):
        read([tmp_path / "missing.yaml"])


def test_which_route(given):
    with pytest.raises(InvalidInput, match="no MoltBotRoute"):
        sources(given(backend("a")))
    two = given(route("one"), route("two", "other"), backend("a"))
    with pytest.raises(InvalidInput, match="default/one, other/two"):
        sources(two)
    with pytest.raises(InvalidInput, match="no MoltBotRoute three"):
        sources(two, "three")
    assert sources(two, "one").name == "one"
    assert sources(two, "other/two").namespace == "other"


def rotated_keys():
    key = {"secretRef": {"name": "web-keys"}, "rotation": {}}
    return {"name": "web", "auth": {"apiKey": key}, "backends": ["a"]}


def test_the_secret_of_a_key_that_is_made_here_may_be_missing(given):
    manifests = given(route(consumers=[rotated_keys()]), backend("a"))
    assert consumer_problem(manifests) == "SecretNotFound"
    place = KeySecret("default", "web-keys")
    assert manifests.rotating(None) == {place}
    manifests.rotated.add(place)
    assert consumer_problem(manifests) is None


def test_when_a_key_is_to_be_replaced(given):
    asking = {"annotations": {"moltbot.io/rotate-at": "2026-01-31T10:00:00+02:00"}}
    manifests = given(route(), secret(metadata={"name": "web-keys", **asking}))
    assert manifests.rotate_at == {KeySecret("default", "web-keys"): datetime(2026, 1, 31, 8, tzinfo=UTC)}


@pytest.mark.parametrize("text", ["soon", "", 2026, ["2026-01-31T08:00:00Z"]])
def test_what_is_no_time(given, text):
    asking = {"annotations": {"moltbot.io/rotate-at": text}}
    expected = r"Secret default/web-keys: metadata.annotations.moltbot.io/rotate-at: this is no time: write"
    with pytest.raises(InvalidInput, match=expected):
        given(route(), secret(metadata={"name": "web-keys", **asking}))


def test_a_rotated_credential_begins_with_the_one_in_the_files_or_is_issued(given):
    external = backend("a", auth=keyed(), rotation={"issuer": {"type": "External"}})
    assert problem(given(route(), external)) == "SecretNotFound"
    webhook = {"preset": "LiteLLM", "url": "http://127.0.0.1:1", "secretRef": {"name": "s", "key": "k"}}
    made = backend("a", auth=keyed(), rotation={"issuer": {"type": "Webhook", "webhook": webhook}})
    assert problem(given(route(), made)) == "CredentialNotIssued"
    manifests = given(route(), made)
    ref = next(iter(manifests.backends))
    assert manifests.rotating(None) == {ref}
    manifests.rotated.add(ref)
    assert problem(manifests) is None
    assert sources(manifests).backends[ref].rotated


def test_missing_credentials(given):
    assert problem(given(route(), backend("a", auth=keyed()))) == "SecretNotFound"
    other = secret(stringData={"other": "k"})
    assert problem(given(route(), backend("a", auth=keyed()), other)) == "SecretKeyNotFound"
    consumer = {"name": "web", "auth": {"apiKey": {"secretRef": {"name": "s"}}}, "backends": ["a"]}
    consumers = sources(given(route(consumers=[consumer]), backend("a"))).consumers
    assert consumers["web"].problem.reason == "SecretNotFound"


def test_use_from_another_namespace_needs_consent(given):
    wanted = route(backends=["models/a"])
    assert problem(given(wanted, backend("a", "models")), "models/a") == "RefNotPermitted"
    allowed = backend("a", "models", allowedRoutes={"namespaces": "All"})
    assert problem(given(wanted, allowed), "models/a") is None


def test_endpoints_are_replaced(given):
    found = given(route(), backend("a"), backend("b", endpoint={"service": {"name": "b", "port": 80}}))
    replaced = sources(found, a="https://other.example/x", **{"default/b": "http://127.0.0.1:8000"})
    urls = {ref.name: each.spec.endpoint.url for ref, each in replaced.backends.items()}
    assert urls == {"a": "https://other.example/x", "b": "http://127.0.0.1:8000"}
    with pytest.raises(InvalidInput, match="default/c"):
        sources(found, c="http://127.0.0.1:1")


def test_a_bad_endpoint_says_which(given):
    with pytest.raises(InvalidInput, match="--endpoint a"):
        sources(given(route(), backend("a")), a="nonsense")
