"""The audit record: complete for every call, in its documented schema, without a credential or content."""

import json
from pathlib import Path

import httpx
import pytest
from gateway_bed import BODY, backend, keyed, route, rule, secret, serving
from moltbot_provider import Provider

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text())["$defs"]
TYPES = {"string": str, "integer": int, "boolean": bool, "null": type(None)}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FAILOVER = {"maxRetries": 3, "backoff": {"base": "5ms", "max": "10ms"}}


def faults(record):
    """What is wrong with a record by the schema; as much of JSON Schema as that file uses."""
    schema = SCHEMA[record["record"]]
    found = [f"{name} is missing" for name in schema["required"] if name not in record]
    for name, value in record.items():
        wanted = schema["properties"].get(name)
        if wanted is None:
            found.append(f"{name} is unknown")
        elif "enum" in wanted:
            found += [] if value in wanted["enum"] else [f"{name}: {value!r}"]
        elif "type" in wanted:
            kinds = [wanted["type"]] if isinstance(wanted["type"], str) else wanted["type"]
            if type(value) not in [TYPES[kind] for kind in kinds]:
                found.append(f"{name}: {value!r}")
            if isinstance(value, str) and len(value) > wanted.get("maxLength", len(value)):
                found.append(f"{name} is too long")
    return found


async def test_each_attempt_and_its_outcome(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b, Provider(name="c") as c:
        given = rule("all", {"a": 1, "b": 0}, ["c"], failover=FAILOVER)
        objects = [*backend("a", a.url), *backend("b", b.url), *backend("c", c.url, model="c-v1")]
        async with serving(route(given), objects, folder=tmp_path) as bed:
            await a.fault("refuse")
            await b.fault("status", status=503)
            assert (await bed.chat()).status_code == 200
            await c.fault("hang")
            with pytest.raises(httpx.TimeoutException):
                await bed.client.post("/v1/chat/completions", json=BODY, timeout=1)
            await c.clear()
            await c.fault("status", status=429)
            assert (await bed.chat()).status_code == 429
            records = await bed.records(3)
            lines = [json.loads(line) for line in await bed.lines()]
    served, left, limited = records
    assert [(t["backend"], t["status"], t["flags"]) for t in served["tries"]] == [
        ("a", 0, "UF"),
        ("b", 503, "-"),
        ("c", 200, "-"),
    ]
    assert (served["attempts"], served["backend"], served["model_served"]) == (3, "c", "c-v1")
    assert (left["status"], left["flags"], len(left["tries"])) == (0, "DC", 3)
    assert [t["status"] for t in limited["tries"]] == [0, 503, 429, 429]
    assert [fault for line in lines for fault in faults(line)] == []


async def test_one_attempt_that_goes_well_is_one_line(tmp_path):
    async with Provider(name="a") as a:
        objects = backend("a", a.url)
        async with serving(route(rule("all", ["a"])), objects, folder=tmp_path) as bed:
            await bed.chat(traceparent=TRACE, tracestate="x=1")
            await bed.chat(body={**BODY, "stream": True})
            await bed.records(2)
            lines = [json.loads(line) for line in await bed.lines()]
    plain, streamed = lines
    assert plain["content_type"] == "application/json"
    assert streamed["content_type"].startswith("text/event-stream")
    assert (plain["traceparent"], streamed["traceparent"]) == (TRACE, None)
    sent = dict(a.requests[0].headers)
    assert (sent["traceparent"], sent["tracestate"]) == (TRACE, "x=1")
    assert 0 <= plain["first_byte_ms"] <= plain["first_token_ms"] <= plain["duration_ms"]
    assert faults(plain) == faults(streamed) == []


async def test_the_first_token_of_a_stream_is_later_than_its_headers(tmp_path):
    async with Provider(name="a") as a:
        objects = backend("a", a.url)
        async with serving(route(rule("all", ["a"])), objects, folder=tmp_path) as bed:
            await a.fault("slow_first_byte", seconds=0.5)
            await bed.chat(body={**BODY, "stream": True})
            (record,) = await bed.records(1)
    assert record["first_byte_ms"] < 400 <= record["first_token_ms"] <= record["duration_ms"]


async def test_refused_calls_leave_a_record_too(tmp_path):
    async with Provider(name="a") as a:
        objects = [
            route(
                rule("mine", ["a"], model=["mine"]),
                rule("other", ["b"], path="^/other/"),
                rule("gone", ["missing"], path="^/gone/"),
                consumers=[keyed("web", "a", "missing")],
            ),
            *backend("a", a.url, model="a-v1"),
            *backend("b", a.url),
            secret("web-keys", one="topsecret-key"),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            key = {"authorization": "Bearer topsecret-key"}
            mine = {**BODY, "model": "mine"}
            statuses = [
                (await bed.chat(body=mine, **key)).status_code,
                (await bed.chat(body=b'{"model": 1}', **key)).status_code,
                (await bed.chat(body=mine)).status_code,
                (await bed.chat(authorization="Bearer topsecret-wrong")).status_code,
                (await bed.chat("/other/v1/chat/completions", **key)).status_code,
                (await bed.chat("/nothing?api_key=topsecret", **key)).status_code,
                (await bed.chat(body=b'{"x": "' + b"x" * 17 * 2**20 + b'"}', **key)).status_code,
                (await bed.chat("/gone/v1/chat/completions", **key)).status_code,
            ]
            records = await bed.records(len(statuses))
    assert statuses == [200, 400, 401, 401, 403, 404, 413, 503]
    assert [record["status"] for record in records] == statuses
    assert [record["consumer"] for record in records] == ["web", "web", None, None, *["web"] * 4]
    assert [bool(record["attempts"]) for record in records] == [True, *[False] * 7]
    assert [record["rule"] for record in records[:5]] == ["mine", "mine", "mine", "mine", "other"]
    assert (records[0]["model"], records[0]["model_served"], records[0]["backend"]) == ("mine", "a-v1", "a")
    assert all(record["request_id"] for record in records)
    assert "topsecret" not in json.dumps(records)
    tries = [
        {name: value for name, value in record.items() if name not in {"tries", "stream"}}
        for record in records
    ]
    assert [fault for record in tries for fault in faults(record)] == []


async def test_fields_are_picked_and_redacted(tmp_path):
    audit = {"fields": ["backend", "status", "consumer"], "redact": ["consumer", "backend"]}
    async with Provider(name="a") as a:
        given = route(rule("all", ["a"], failover={"maxRetries": 1}), audit=audit)
        async with serving(given, backend("a", a.url), folder=tmp_path) as bed:
            await a.fault("status", status=503, count=1)
            await bed.chat()
            await bed.records(1)
            attempt, call = [json.loads(line) for line in await bed.lines()]
    assert set(attempt) == {"record", "time", "request_id", "backend", "status"}
    assert set(call) == {"record", "time", "request_id", "backend", "status", "consumer"}
    assert (call["backend"], call["consumer"], attempt["backend"]) == ("redacted",) * 3
    assert (attempt["status"], call["status"]) == (503, 200)
    assert faults(attempt) == faults(call) == []


def test_the_schema_has_what_the_api_offers():
    from moltbot_operator.api import AuditField

    assert set(SCHEMA["call"]["properties"]) == {str(field) for field in AuditField}
    assert faults({"record": "call", "time": "x", "request_id": "x", "status": 1.5, "body": ""}) != []
