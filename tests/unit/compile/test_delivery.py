"""What the agent and the pod are told."""

from dataclasses import replace

from compile_given import backend, compiled, rule

from moltbot_agent.config import unpack
from moltbot_operator.compile import Files, Mount

KEYED = {"name": "web", "auth": {"apiKey": {"secretRef": {"name": "web-keys"}}}, "backends": ["a"]}


def test_credentials_are_files():
    result = compiled([rule("r", ["a", "b"])], [backend("a", secret="s"), backend("b")])
    (credential,) = result.agent.credentials
    assert (credential.backend, credential.prefix) == ("default/a", "Bearer ")
    assert str(credential.source) == "/etc/moltbot/credentials/default_s/token"
    assert str(credential.target) == "/run/moltbot/sds/default_s_token.json"
    assert result.mounts == (Mount("Secret", "default", "s", "token", "credential", "default_s", "token"),)


def test_a_rotated_credential_is_in_a_secret_whose_name_stays():
    given = replace(backend("a", secret="s"), rotated=True)
    result = compiled([rule("r", ["a"])], [given])
    (credential,) = result.agent.credentials
    assert str(credential.source) == "/etc/moltbot/credentials/default_a-credential/value"
    assert str(credential.next) == "/etc/moltbot/credentials/default_a-credential/next"
    folder = "default_a-credential"
    assert result.mounts == tuple(
        Mount("Secret", "default", "a-credential", key, "credential", folder, key)
        for key in ("value", "next")
    )


def test_backends_that_send_the_same_value_share_it():
    given = [backend("a", secret="s"), backend("b", secret="s")]
    result = compiled([rule("r", ["a", "b"])], given)
    assert [each.backend for each in result.agent.credentials] == ["default/a", "default/b"]
    assert len({each.name for each in result.agent.credentials}) == 1
    assert len(result.mounts) == 1


def test_another_prefix_is_another_value():
    plain = {"type": "APIKey", "apiKey": {"secretRef": {"name": "s", "key": "token"}, "prefix": "Key "}}
    result = compiled([rule("r", ["a", "b"])], [backend("a", secret="s"), backend("b", auth=plain)])
    assert len({each.name for each in result.agent.credentials}) == 2
    assert len({each.target for each in result.agent.credentials}) == 2


def test_private_cas_are_mounted():
    endpoint = {"url": "https://a.internal", "tls": {"caRef": {"name": "corp", "key": "root.pem"}}}
    result = compiled([rule("r", ["a"])], [backend("a", endpoint=endpoint)])
    assert result.mounts == (Mount("ConfigMap", "default", "corp", "root.pem", "ca", "default_a", "ca.crt"),)


def test_consumers_keys_are_one_file():
    result = compiled([rule("r", ["a"])], [backend("a")], [KEYED])
    assert result.mounts == (Mount("Secret", "default", "web-keys", None, "consumer", "web", None),)
    consumers = result.agent.consumers
    assert [(each.consumer, str(each.source)) for each in consumers.keys] == [
        ("web", "/etc/moltbot/consumers/web")
    ]
    assert "credentials" not in consumers.template


def test_everybody_needs_no_keys():
    assert compiled([rule("r", ["a"])], [backend("a")]).agent.consumers is None


def test_parts_hold_what_is_given_and_name_its_revision():
    result = compiled([rule("r", ["a"])], [backend("a")])
    agent, envoy = unpack(result.parts)
    assert (agent, envoy) == (result.agent, result.envoy)
    assert agent.revision == envoy["node"]["metadata"]["revision"] == result.revision
    assert len(result.revision) == 10


def test_the_revision_is_of_the_content():
    given = [rule("r", ["a"])]
    first = compiled(given, [backend("a")])
    assert compiled(given, [backend("a")]).parts == first.parts
    assert compiled(given, [backend("a", model="m")]).revision != first.revision
    assert compiled(given, [backend("a")], files=Files(gateway_port=1)).revision != first.revision


def test_files_and_ports_are_the_given_ones():
    files = Files(
        run="/r", access_log="/log", listen_address="127.0.0.1", gateway_port=1, ready_port=2, admin_port=3
    )
    result = compiled([rule("r", ["a"])], [backend("a", secret="s")], files=files)
    sockets = [
        each["address"]["socket_address"] for each in result.envoy["static_resources"]["listeners"][:2]
    ]
    assert sockets == [{"address": "127.0.0.1", "port_value": 1}, {"address": "127.0.0.1", "port_value": 2}]
    assert result.agent.admin_port == result.envoy["admin"]["address"]["socket_address"]["port_value"] == 3
    assert str(result.agent.bootstrap) == "/r/envoy.json"
    assert "'path': '/log'" in str(result.envoy)


def test_public_keys_are_mounted_once_for_all_consumers_of_an_issuer():
    jwks = {"configMapRef": {"name": "keys", "key": "jwks.json"}}
    consumers = [
        {"name": name, "auth": {"jwt": {"issuer": "i", "jwks": jwks, "claims": {"azp": name}}}}
        for name in ("web", "batch")
    ]
    result = compiled([rule("r", ["a"])], [backend("a")], consumers)
    assert result.mounts == (Mount("ConfigMap", "default", "keys", "jwks.json", "jwks", "keys", "jwks.json"),)
    tokens = result.agent.verifier
    assert [str(each.source) for each in tokens.keys] == ["/etc/moltbot/jwks/keys/jwks.json"]
    assert str(tokens.target) == "/run/moltbot/ecds/consumer-tokens.json"
    assert list(tokens.template["providers"]) == ["issuer-0"]
    assert result.agent.consumers is None


def test_beside_tokens_keys_go_into_the_wrapped_filter():
    token = {"name": "t", "auth": {"jwt": {"issuer": "i", "jwks": {"url": "https://i.example/keys"}}}}
    consumers = compiled([rule("r", ["a"])], [backend("a")], [KEYED, token]).agent.consumers
    assert consumers.inside == ("extension_config", "typed_config")
    assert "key_sources" in consumers.template["extension_config"]["typed_config"]
