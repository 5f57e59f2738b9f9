"""The audit record at a collector of OpenTelemetry logs, and that no call depends on the collector."""

import time

import pytest
from collector import Collector
from gateway_bed import BODY, backend, keyed, route, rule, secret, serving, until
from moltbot_provider import Provider

from moltbot_operator.api import AuditField
from moltbot_operator.compile.envoy.log import ATTEMPT_FIELDS

RESOURCE = {"service.name": "moltbot-gateway", "moltbot.route": "default/assistant"}
KEY = {"authorization": "Bearer topsecret-key"}


def to(url, **more):
    return {"destination": "OTLP", "otlp": {"url": url}, **more}


async def received(collector, count):
    async def there():
        return len(collector.records) >= count

    await until(there)
    return collector.records


async def stat(bed, name):
    admin = f"http://127.0.0.1:{bed.running.admin_port}/stats?filter={name}&format=json"
    return sum(each["value"] for each in (await bed.client.get(admin)).json()["stats"] if "value" in each)


async def test_calls_and_failed_attempts_reach_the_collector(tmp_path):
    async with Collector() as collector, Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(
                rule("all", ["a"], ["b"], failover={"maxRetries": 1}),
                consumers=[keyed("web", "a", "b")],
                audit=to(collector.url),
            ),
            *backend("a", a.url, key="topsecret-a"),
            *backend("b", b.url, key="topsecret-b"),
            secret("web-keys", one="topsecret-key"),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("status", status=503)
            answer = await bed.chat("/v1/chat/completions?api_key=topsecret", **KEY)
            assert answer.status_code == 200
            assert (await bed.chat(authorization="Bearer topsecret-wrong")).status_code == 401
            records = await received(collector, 3)
            assert await bed.lines() == []
            assert await stat(bed, "logs_dropped") == 0
    assert [resource for resource, _ in records] == [RESOURCE] * 3
    (attempt,) = [record for _, record in records if record["record"] == "attempt"]
    served, refused = [record for _, record in records if record["record"] == "call"]
    assert set(served) == set(refused) == {str(field) for field in AuditField}
    assert set(attempt) == {*ATTEMPT_FIELDS, "route"}
    assert attempt["request_id"] == served["request_id"] == answer.headers["x-request-id"]
    assert (attempt["backend"], attempt["status"], attempt["flags"]) == ("a", "503", "-")
    got = {name: served[name] for name in ("consumer", "rule", "backend", "attempts", "status", "path")}
    assert got == {
        "consumer": "web",
        "rule": "all",
        "backend": "b",
        "attempts": "2",
        "status": "200",
        "path": "/v1/chat/completions",
    }
    assert (refused["status"], refused["consumer"], refused["backend"]) == ("401", "-", "-")
    assert served["total_tokens"] == "-"
    sent = b"".join([*collector.bodies, "".join(collector.heads).encode()])
    assert b"topsecret" not in sent
    assert BODY["messages"][0]["content"].encode() not in {v.encode() for _, r in records for v in r.values()}
    assert all(head.startswith("POST /v1/logs HTTP/1.1\r\n") for head in collector.heads)
    assert all("content-type: application/x-protobuf\r\n" in head for head in collector.heads)
    assert not any("x-mb-" in head for head in collector.heads)


async def test_fields_are_picked_and_redacted(tmp_path):
    async with Collector() as collector, Provider(name="a") as a:
        audit = to(collector.url, fields=["backend", "status", "consumer"], redact=["consumer", "route"])
        async with serving(
            route(rule("all", ["a"]), audit=audit), backend("a", a.url), folder=tmp_path
        ) as bed:
            await bed.chat()
            ((resource, record),) = await received(collector, 1)
    assert set(record) == {"record", "time", "request_id", "backend", "status", "consumer"}
    assert (record["consumer"], record["backend"]) == ("redacted", "a")
    assert resource == {"service.name": "moltbot-gateway"}


async def written(bed):
    """After one more call, whose record is dropped too while all exports still wait for an answer."""
    assert (await bed.chat()).status_code == 200
    return await stat(bed, "logs_written") > 0


@pytest.mark.parametrize("fault", ["gone", "unknown", "silent", "refusing"])
async def test_no_call_fails_or_waits_for_a_collector_in_trouble(tmp_path, fault):
    """More records than all exports under way may hold: what is above is dropped, and calls go on.

    A collector that is well again gets records again.
    """
    async with Collector(status=503, silent=fault == "silent") as collector, Provider(name="a") as a:
        if fault == "gone":
            await collector.close()
        given = route(
            rule("all", ["a"]), audit=to("http://collector.invalid/" if fault == "unknown" else collector.url)
        )
        async with serving(given, backend("a", a.url), folder=tmp_path) as bed:
            slowest, began = 0.0, time.monotonic()
            for _ in range(300):
                start = time.monotonic()
                answer = await bed.chat("/v1/chat/completions/" + "x" * 6000)
                assert answer.status_code == 404, answer.text
                slowest = max(slowest, time.monotonic() - start)
            assert (await bed.chat()).status_code == 200

            async def dropped():
                return await stat(bed, "logs_dropped") > 0

            await until(dropped, 40)
            assert await stat(bed, "logs_written") == 0
            collector.status, collector.silent = 200, False
            assert (await bed.chat()).status_code == 200
            assert fault != "silent" or time.monotonic() - began > 4 or len(collector.bodies) <= 8
            if fault in {"silent", "refusing"}:
                await until(lambda: written(bed), 40)
    assert slowest < 4  # an export may take 5 s
