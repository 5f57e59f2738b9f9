from datetime import timedelta

import aiohttp
import pytest
import yaml
from aiohttp import web
from kubernetes.aio.config import incluster_config

from moltbot_operator.errors import ClusterError
from moltbot_operator.kube import connection as subject
from moltbot_operator.kube.connection import Connection


@pytest.fixture
async def server():
    """Keeps the Authorization and User-Agent of each request; answers 418."""
    seen = []

    async def handle(request):
        seen.append((request.headers.get("Authorization"), request.headers["User-Agent"]))
        return web.Response(status=418)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


def kubeconfig(folder, url, **user):
    text = yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": user}],
        }
    )
    file = folder / "kubeconfig"
    file.write_text(text)
    return str(file)


async def call(connection, path="/api/v1/pods", observe=None, user=""):
    async with (
        connection.session(observe, user=user) as session,
        session.get(connection.server + path) as response,
    ):
        return response.status


async def test_a_kubeconfig_s_token_is_sent_and_calls_are_observed(server, tmp_path):
    url, seen = server
    calls = []
    connection = await Connection.open(kubeconfig(tmp_path, url + "/", token="abc"))
    assert connection.server == url, "without the trailing slash"
    assert await call(connection, observe=calls.append, user="kopf") == 418
    authorization, agent = seen[0]
    assert authorization == "Bearer abc"
    assert agent.startswith("moltbot-operator/")
    assert agent.endswith("(kopf)")
    assert [(each.verb, each.resource, each.status) for each in calls] == [("list", "pods", 418)]


async def test_a_user_without_a_token_sends_none(server, tmp_path):
    url, seen = server
    await call(await Connection.open(kubeconfig(tmp_path, url)))
    assert seen[0][0] is None


async def test_a_token_in_a_kubeconfig_is_read_again(server, tmp_path, monkeypatch):
    url, seen = server
    monkeypatch.setattr(subject, "TOKEN_AGE", timedelta(0))
    connection = await Connection.open(kubeconfig(tmp_path, url, token="old"))
    kubeconfig(tmp_path, url, token="new")
    await call(connection)
    assert seen[0][0] == "Bearer new"


async def test_while_a_kubeconfig_is_half_written_the_last_token_is_used(server, tmp_path, monkeypatch):
    url, seen = server
    monkeypatch.setattr(subject, "TOKEN_AGE", timedelta(0))
    connection = await Connection.open(kubeconfig(tmp_path, url, token="old"))
    await call(connection)
    (tmp_path / "kubeconfig").write_text("users: [")
    await call(connection)
    kubeconfig(tmp_path, url, token="new")
    await call(connection)
    assert [authorization for authorization, _ in seen] == ["Bearer old", "Bearer old", "Bearer new"]


async def test_a_pod_s_token_is_read_again_when_the_kubelet_has_renewed_it(tmp_path, monkeypatch):
    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first\n")
    ca.write_text("a certificate")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(ca))
    connection = await Connection.open()
    assert connection.server == "https://10.0.0.1:443"
    loader = connection._configuration.refresh_api_key_hook.__closure__[0].cell_contents
    sent = []
    for content in ("first", "second", None):
        if content is None:
            token.unlink()
        else:
            token.write_text(f"{content}\n")
        loader.token_expires_at -= timedelta(minutes=2)  # it is read once a minute
        sent.append((await connection._authorization()).lower())
    assert sent == ["bearer first", "bearer second", "bearer second"]


async def test_an_unanswered_call_is_observed_as_status_0(tmp_path, unused_tcp_port):
    calls = []
    connection = await Connection.open(kubeconfig(tmp_path, f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await call(connection, observe=calls.append)
    assert [each.status for each in calls] == [0]


@pytest.mark.parametrize("text", [None, "", "{}", "a: ["])
async def test_no_usable_kubeconfig_says_what_to_do(tmp_path, monkeypatch, text):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ClusterError, match="set KUBECONFIG") as caught:
        await Connection.open(str(file))
    assert str(file) in str(caught.value)


async def test_tls_settings_of_the_kubeconfig_are_followed(tmp_path):
    file = kubeconfig(tmp_path, "https://127.0.0.1:1", token="abc")
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    config["clusters"][0]["cluster"].update({"insecure-skip-tls-verify": True, "tls-server-name": "kube"})
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    connection = await Connection.open(file)
    assert connection._tls().check_hostname is False
    assert connection._configuration.tls_server_name == "kube"
