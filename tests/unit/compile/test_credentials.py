"""What backends are sent, which files that takes, and what may share one."""

import pytest
from compile_given import backend, compiled, jwt, oauth2, rule, sources

from moltbot_operator.compile import Files, compile_route


def credentials(*backends):
    names = [str(each.ref) for each in backends]
    return compiled([rule("r", names)], list(backends)).agent.credentials


def test_backends_that_are_sent_the_same_share_a_file_and_a_token():
    one, two = credentials(backend("a", auth=oauth2()), backend("b", auth=oauth2()))
    assert (one.backend, two.backend) == ("default/a", "default/b")
    assert (one.target, one.state, one.name) == (two.target, two.state, two.name)


@pytest.mark.parametrize(
    "other",
    [
        oauth2(scopes=["x"]),
        oauth2(audience="x"),
        oauth2(clientId="another"),
        oauth2(tokenUrl="https://other.example/token"),
        oauth2(caRef={"name": "corp"}),
        oauth2(clientAuthentication="ClientSecretPost"),
        oauth2("another"),
        jwt("client"),
    ],
)
def test_whatever_differs_in_a_token_keeps_it_apart(other):
    one, two = credentials(backend("a", auth=oauth2()), backend("b", auth=other))
    assert len({one.target, two.target}) == len({one.state, two.state}) == 2


def test_tokens_go_into_the_authorization_header_whatever_the_preset():
    result = compiled([rule("r", ["a"])], [backend("a", auth=oauth2(), provider="Anthropic")])
    assert result.agent.credentials[0].prefix == "Bearer "
    assert '"header":"authorization"' in str(result.envoy).replace("'", '"').replace(": ", ":")


def test_what_is_mounted():
    given = [
        backend("a", auth=oauth2(caRef={"name": "corp", "kind": "Secret"})),
        backend("models/b", auth=jwt(None, algorithm="EdDSA")),
    ]
    found = {
        (mount.kind, mount.namespace, mount.name, mount.key, mount.purpose)
        for mount in compiled([rule("r", ["a", "models/b"])], given).mounts
    }
    assert found == {
        ("Secret", "default", "client", "secret", "credential"),
        ("Secret", "default", "corp", "ca.crt", "ca"),
        ("Secret", "models", "b-signing-key-eddsa", "key.pem", "credential"),
    }


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9901", "localhost", "169.254.169.254", "[::1]:9901", "0x7f000001"]
)
def test_a_token_endpoint_in_the_gateways_own_pod_is_refused(host):
    given = sources([rule("r", ["a"])], [backend("a", auth=oauth2(tokenUrl=f"http://{host}/quitquitquit"))])
    [rule_report] = compile_route(given).rules
    assert rule_report.problem.reason == "Loop"
    assert "tokenUrl" in rule_report.problem.message


def test_on_one_machine_it_may_be_there():
    given = [backend("a", auth=oauth2(tokenUrl="http://127.0.0.1:1/token"))]
    [rule_report] = compiled([rule("r", ["a"])], given, files=Files(loopback=True)).rules
    assert rule_report.problem is None
