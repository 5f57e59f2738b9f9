"""The client against a scripted API server on loopback: what the real one does rarely, on demand."""

import asyncio
import json
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from moltbot_operator.errors import ClusterError, Conflict, Gone, LeaseLost, NotFound
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.kinds import CONFIG_MAP, KINDS, MOLTBOT_ROUTE, NAMESPACE, SECRET, kind_of

ROUTE = {
    "apiVersion": "moltbot.io/v1alpha1",
    "kind": "MoltBotRoute",
    "metadata": {"namespace": "team", "name": "chat"},
}


class Script:
    """Answers in order; keeps the requests."""

    def __init__(self):
        self.answers, self.requests = [], []

    def say(self, body, status=200):
        self.answers.append((status, body))

    def refuse(self, status, message):
        self.say({"kind": "Status", "message": message, "code": status}, status)

    async def handle(self, request):
        body = await request.read()
        self.requests.append((request.method, request.path, dict(request.query), body, dict(request.headers)))
        status, body = self.answers.pop(0)
        if body == "hang":
            await asyncio.sleep(30)
        if isinstance(body, list):
            response = web.StreamResponse()
            await response.prepare(request)
            for line in body:
                await response.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
            return response
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status)


@pytest.fixture
async def script():
    return Script()


@pytest.fixture
async def cluster(script):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        yield KubeCluster(session, server, timeout=timedelta(milliseconds=300), identity="test")
    await runner.cleanup()


async def test_paths_of_kinds(cluster, script):
    for _ in range(3):
        script.say({})
    await cluster.get(MOLTBOT_ROUTE, "team", "chat")
    await cluster.get(SECRET, "team", "key")
    await cluster.get(NAMESPACE, "ignored", "team")
    assert [path for _, path, *_ in script.requests] == [
        "/apis/moltbot.io/v1alpha1/namespaces/team/moltbotroutes/chat",
        "/api/v1/namespaces/team/secrets/key",
        "/api/v1/namespaces/team",
    ]


def test_every_kind_is_found_by_its_manifest():
    for kind in KINDS:
        assert kind_of({"apiVersion": kind.api_version, "kind": kind.kind}) is kind


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (409, Conflict), (410, Gone), (422, ClusterError), (500, ClusterError)],
)
async def test_refusals_name_the_object_and_repeat_the_servers_words(cluster, script, status, error):
    script.refuse(status, "spec.x: Invalid value: 7")
    with pytest.raises(error) as caught:
        await cluster.get(MOLTBOT_ROUTE, "team", "chat")
    assert str(caught.value) == f"GET MoltBotRoute team/chat: {status}: spec.x: Invalid value: 7"
    assert caught.value.status == status


async def test_a_lack_of_rights_says_where_to_look(cluster, script):
    script.refuse(403, "no")
    with pytest.raises(ClusterError, match="RBAC"):
        await cluster.get(SECRET, "team", "key")


@pytest.mark.parametrize("body", ["", "<html>bad gateway</html>", "[]"])
async def test_refusals_of_something_in_between_are_told_too(cluster, script, body):
    script.say(body, 502)
    with pytest.raises(ClusterError, match="502"):
        await cluster.get(SECRET, "team", "key")


async def test_an_answer_that_is_not_json_is_an_error_of_ours(cluster, script):
    script.say("<html>welcome</html>")
    with pytest.raises(ClusterError, match="not JSON"):
        await cluster.get(SECRET, "team", "key")


async def test_a_hanging_call_ends_by_its_timeout(cluster, script):
    script.say("hang")
    began = asyncio.get_running_loop().time()
    with pytest.raises(ClusterError, match="no answer from the API server") as caught:
        await cluster.get(SECRET, "team", "key")
    assert asyncio.get_running_loop().time() - began < 5
    assert caught.value.status is None


async def test_an_unreachable_server_is_an_error_of_ours(unused_tcp_port):
    async with aiohttp.ClientSession() as session:
        server = f"http://127.0.0.1:{unused_tcp_port}"
        cluster = KubeCluster(session, server, timeout=timedelta(seconds=5), identity="test")
        with pytest.raises(ClusterError, match="GET Secret team/key: no answer"):
            await cluster.get(SECRET, "team", "key")


async def test_lists_come_in_chunks_and_items_get_their_kind(cluster, script):
    script.say(
        {"metadata": {"resourceVersion": "9", "continue": "next"}, "items": [{"metadata": {"name": "a"}}]}
    )
    script.say({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]})
    found = await cluster.list(CONFIG_MAP, labels="x=y")
    assert [(each["kind"], each["metadata"]["name"]) for each in found] == [
        ("ConfigMap", "a"),
        ("ConfigMap", "b"),
    ]
    assert [query for _, _, query, *_ in script.requests] == [
        {"limit": "500", "labelSelector": "x=y"},
        {"limit": "500", "labelSelector": "x=y", "continue": "next"},
    ]


async def test_an_empty_list_may_be_null(cluster, script):
    script.say({"metadata": {"resourceVersion": "9"}, "items": None})
    assert await cluster.list(CONFIG_MAP, "team") == []


async def test_a_list_whose_position_expired_starts_anew(cluster, script):
    script.say(
        {"metadata": {"resourceVersion": "9", "continue": "next"}, "items": [{"metadata": {"name": "a"}}]}
    )
    script.refuse(410, "too old")
    script.say({"metadata": {"resourceVersion": "10"}, "items": [{"metadata": {"name": "c"}}]})
    assert [each["metadata"]["name"] for each in await cluster.list(CONFIG_MAP)] == ["c"]


async def test_a_list_that_always_expires_is_given_up(cluster, script):
    for _ in range(3):
        script.refuse(410, "too old")
    with pytest.raises(Gone):
        await cluster.list(CONFIG_MAP)


async def test_apply_is_server_side_forced_and_strict(cluster, script):
    script.say(ROUTE)
    await cluster.apply(ROUTE)
    method, path, query, body, headers = script.requests[0]
    assert (method, path) == ("PATCH", "/apis/moltbot.io/v1alpha1/namespaces/team/moltbotroutes/chat")
    assert query == {"fieldManager": "moltbot-operator", "force": "true", "fieldValidation": "Strict"}
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(body) == ROUTE


async def test_status_is_merged_into_its_subresource(cluster, script):
    script.say(ROUTE)
    await cluster.apply_status(MOLTBOT_ROUTE, "team", "chat", {"a": None})
    method, path, _, body, headers = script.requests[0]
    assert (method, path) == ("PATCH", "/apis/moltbot.io/v1alpha1/namespaces/team/moltbotroutes/chat/status")
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(body) == {"status": {"a": None}}


async def test_delete_follows_in_the_background_and_gone_is_success(cluster, script):
    script.refuse(404, "not found")
    await cluster.delete(MOLTBOT_ROUTE, "team", "chat")
    body = json.loads(script.requests[0][3])
    assert body["propagationPolicy"] == "Background"
    assert "preconditions" not in body


async def test_delete_of_an_object_made_anew_leaves_it_alone(cluster, script):
    script.refuse(409, "the UID in the precondition does not match")
    await cluster.delete(MOLTBOT_ROUTE, "team", "chat", uid="u1")
    assert json.loads(script.requests[0][3])["preconditions"] == {"uid": "u1"}
    script.refuse(409, "conflict")
    with pytest.raises(Conflict):
        await cluster.delete(MOLTBOT_ROUTE, "team", "chat")


async def test_whoever_lost_the_lease_writes_nothing(cluster, script):
    def lost():
        raise LeaseLost("overdue")

    cluster._before_write = lost
    for write in (
        cluster.apply(ROUTE),
        cluster.create(ROUTE),
        cluster.apply_status(MOLTBOT_ROUTE, "team", "chat", {}),
        cluster.delete(MOLTBOT_ROUTE, "team", "chat"),
    ):
        with pytest.raises(LeaseLost):
            await write
    assert script.requests == []
    script.say(ROUTE)
    await cluster.get(MOLTBOT_ROUTE, "team", "chat")


def event(kind, version, **rest):
    return {"type": kind, "object": {"metadata": {"name": "a", "resourceVersion": str(version)}, **rest}}


async def watched(cluster):
    return [
        (each.type, each.manifest["metadata"]["resourceVersion"])
        async for each in cluster.watch(SECRET, since="1", lifetime=timedelta(seconds=30), metadata_only=True)
    ]


async def test_a_watch_yields_events_split_anywhere_and_ends_with_the_stream(cluster, script):
    raw = b"".join(
        json.dumps(each).encode() + b"\n"
        for each in (event("ADDED", 2), event("MODIFIED", 3, big="x" * 300_000), event("BOOKMARK", 4))
    )
    script.say([raw[:10], raw[10:2000], raw[2000:250_000], raw[250_000:]])
    assert await watched(cluster) == [("ADDED", "2"), ("MODIFIED", "3"), ("BOOKMARK", "4")]
    _, _, query, _, headers = script.requests[0]
    assert query == {
        "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "1", "timeoutSeconds": "30",
    }  # fmt: skip
    assert "PartialObjectMetadata" in headers["Accept"]


async def test_a_watch_too_old_is_gone_by_status_and_by_event(cluster, script):
    script.refuse(410, "too old")
    with pytest.raises(Gone):
        await watched(cluster)
    script.say([{"type": "ERROR", "object": {"code": 410, "message": "too old"}}])
    with pytest.raises(Gone):
        await watched(cluster)


async def test_an_error_within_a_watch_is_an_error(cluster, script):
    script.say([event("ADDED", 2), {"type": "ERROR", "object": {"code": 500, "message": "etcd is ill"}}])
    with pytest.raises(ClusterError, match="watch secrets: 500: etcd is ill"):
        await watched(cluster)
