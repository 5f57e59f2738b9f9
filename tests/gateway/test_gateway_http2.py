"""HTTP/2 to backends: which version is spoken, streams, attempts, limits, connections that end."""

import asyncio
import contextlib
import json
from collections import Counter

import httpx
import pytest
from certificates import Authority
from gateway_bed import BODY, CHAT, backend, route, rule, serving, until
from http2_front import front
from moltbot_provider import Provider

QUICK = {"backoff": {"base": "1ms", "max": "5ms"}, "perTryTimeout": "20s"}


@pytest.fixture(scope="module")
def corp():
    return Authority()


@contextlib.asynccontextmanager
async def upstream(name, folder, corp=None, **options):
    """A provider behind HTTP/2: with TLS and ALPN where there is an authority. Its front, and itself."""
    files = corp.issue(folder, "127.0.0.1") if corp else None
    settings = {key: options.pop(key) for key in ("alpn", "streams") if key in options}
    async with (
        Provider(name=name, **options) as provider,
        front(provider.port, folder, files=files, **settings) as served,
    ):
        yield served, provider


def to(name, served, protocol=None, **spec):
    endpoint = {"url": served.url}
    if served.url.startswith("https"):
        endpoint["tls"] = {"caRef": {"name": "corp-ca"}}
    if protocol:
        endpoint["protocol"] = protocol
    return backend(name, served.url, endpoint=endpoint, **spec)


def trusting(corp):
    metadata = {"name": "corp-ca"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": corp.pem}}


def protocols(provider):
    return Counter(record.header("x-front-protocol") for record in provider.requests)


@pytest.mark.parametrize(
    ("offered", "protocol", "spoken"),
    [
        (("h2", "http/1.1"), None, "HTTP/2"),
        (("http/1.1",), None, "HTTP/1.1"),
        (("h2", "http/1.1"), "Auto", "HTTP/2"),
        (("h2", "http/1.1"), "HTTP1", "HTTP/1.1"),
        (("h2", "http/1.1"), "HTTP2", "HTTP/2"),
    ],
)
async def test_the_version_is_agreed_by_alpn_unless_it_is_given(corp, tmp_path, offered, protocol, spoken):
    async with upstream("a", tmp_path, corp, alpn=offered) as (served, provider):
        objects = [route(rule("all", ["a"])), *to("a", served, protocol, key="key-a"), trusting(corp)]
        async with serving(*objects, folder=tmp_path) as bed:
            answers = await asyncio.gather(*(bed.chat() for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert protocols(provider) == {spoken: 5}
    assert {record.header("authorization") for record in provider.requests} == {"Bearer key-a"}


async def test_http2_without_tls_is_by_prior_knowledge(tmp_path):
    async with upstream("a", tmp_path) as (served, provider):
        objects = [route(rule("all", ["a"])), *to("a", served, "HTTP2")]
        async with serving(*objects, folder=tmp_path) as bed:
            assert (await bed.chat()).status_code == 200
    assert protocols(provider) == {"HTTP/2": 1}


async def test_attempts_pass_between_http1_and_http2_both_ways(corp, tmp_path):
    async with upstream("a", tmp_path, corp) as (served, a), Provider(name="b") as b:
        objects = [
            route(
                rule("there", ["a"], ["b"], path="^/there/", failover=QUICK),
                rule("back", ["b"], ["a"], failover=QUICK),
            ),
            *to("a", served, model="a-v1"),
            *backend("b", b.url, model="b-v1"),
            trusting(corp),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("reset_before_headers")
            there = await bed.chat("/there/v1/chat/completions")
            await a.clear()
            await b.fault("status", status=503)
            back = await bed.chat()
    assert (there.status_code, there.json()["model"]) == (200, "b-v1")
    assert (back.status_code, back.json()["model"]) == (200, "a-v1")
    assert set(protocols(a)) == {"HTTP/2"}


async def test_a_silent_attempt_ends_after_its_limit_and_its_stream_is_reset(corp, tmp_path):
    async with upstream("a", tmp_path, corp) as (served, a), Provider(name="b") as b:
        objects = [
            route(rule("all", ["a"], ["b"], failover={**QUICK, "perTryTimeout": "2s"})),
            *to("a", served),
            *backend("b", b.url),
            trusting(corp),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            assert (await bed.chat()).headers["x-moltbot-backend"] == "a"
            await a.fault("hang", count=1)
            answer = await bed.chat()

            async def left():
                return a.requests[1].outcome == "client left"

            await until(left)
            again = await bed.chat()
        connections = {record.header("x-front-connection") for record in a.requests}
    assert answer.headers["x-moltbot-backend"] == "b"
    assert (again.headers["x-moltbot-backend"], len(connections)) == ("a", 1)


async def test_streams_pass_event_by_event_and_a_cut_one_is_seen_as_broken(corp, tmp_path):
    async with upstream("a", tmp_path, corp, event_gap=0.1) as (served, a):
        objects = [route(rule("all", ["a"])), *to("a", served), trusting(corp)]
        async with serving(*objects, folder=tmp_path) as bed:

            async def events():
                content = json.dumps({**BODY, "stream": True, "max_tokens": 6})
                headers = {"content-type": "application/json"}
                async with bed.client.stream("POST", CHAT, content=content, headers=headers) as answer:
                    return [line async for line in answer.aiter_lines() if line]

            found = await events()
            await a.fault("stream_cut", after=2)
            with pytest.raises(httpx.RemoteProtocolError):
                await events()
    assert (len(found) >= 6, found[-1]) == (True, "data: [DONE]")


async def test_max_connections_counts_requests_with_http2_too(corp, tmp_path):
    """2 at the same time, 2 wait, the rest spill; Auto means HTTP/1.1 where connections are counted."""
    for protocol, spoken in (("HTTP2", "HTTP/2"), ("Auto", "HTTP/1.1")):
        limits = {"maxConnections": 2, "maxPendingRequests": 2}
        async with (
            upstream("a", tmp_path, corp, delay=0.3) as (served, a),
            Provider(name="b", delay=0.3) as b,
        ):
            objects = [
                route(rule("all", {"a": 1, "b": 0}, failover=QUICK)),
                *to("a", served, protocol, limits=limits),
                *backend("b", b.url),
                trusting(corp),
            ]
            async with serving(*objects, folder=tmp_path) as bed:
                answers = await asyncio.gather(*(bed.chat() for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["x-moltbot-attempts"] for answer in answers} == {"1"}
        assert a.requests.max_in_flight == 2
        assert len(a.requests) >= 4
        assert set(protocols(a)) == {spoken}


async def test_a_server_that_sends_goaway_loses_no_request(corp, tmp_path):
    async with upstream("a", tmp_path, corp, delay=0.02) as (served, a):
        objects = [route(rule("all", ["a"], failover={"maxRetries": 0})), *to("a", served), trusting(corp)]
        async with serving(*objects, folder=tmp_path) as bed:
            assert (await bed.chat()).status_code == 200
            await served.drain()
            answers = [
                answer for _ in range(5) for answer in await asyncio.gather(*(bed.chat() for _ in range(8)))
            ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({record.header("x-front-connection") for record in a.requests}) > 1
