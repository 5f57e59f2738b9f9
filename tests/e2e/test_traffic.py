"""Real requests through the route's Service: shares, outages, faithful bytes, streams."""

import base64
import json
import math

import models
import pytest
from sites import BACKUP, MAX, PRO, backend, route, tech_rule

REQUESTS = 2000
CHAT = "/tech/v1/chat/completions"


@pytest.fixture(scope="module", autouse=True)
def assistant(site):
    site.cluster.apply([route("assistant", site.namespace, [tech_rule()])])
    site.wait_serving()


def served_by(result):
    """Provider -> answers; fails if any was not a 200."""
    failed = {each: count for each, count in result["answers"].items() if not each.startswith("200 ")}
    assert not failed, result["errors"]
    return {each.removeprefix("200 "): count for each, count in result["answers"].items()}


def test_2000_requests_are_shared_70_to_30(site):
    served = served_by(site.load(count=REQUESTS))
    assert set(served) == {PRO, MAX}
    # 4 standard deviations of a binomial: missed by chance once in 16,000 runs.
    bound = 4 * math.sqrt(REQUESTS * 0.7 * 0.3)
    assert abs(served[PRO] - 0.7 * REQUESTS) <= bound, served


@pytest.mark.parametrize(
    ("kind", "settings", "count"),
    [("refuse", {}, 500), ("status", {"status": 503}, 500), ("hang", {}, 64)],
)
def test_with_both_candidates_down_the_fallback_serves_every_request(site, kind, settings, count):
    with site.outage(PRO, MAX, kind=kind, **settings):
        served = served_by(site.load(count=count, timeout=60))
    assert served == {BACKUP: count}


def test_one_candidate_down_is_replaced_by_the_other(site):
    with site.outage(PRO, kind="status", status=500):
        served = served_by(site.load(count=300))
    assert set(served) == {MAX}


def test_path_header_order_and_body_bytes_arrive_as_sent_but_for_the_model(site):
    for provider in (PRO, MAX):
        site.admin(provider, "DELETE", "/requests")
    template = (
        '{ "messages" : [ {"role":"user","content":"caf\\u00e9 \U0001f600 \\"model\\": \\"no\\""} ],\n'
        '  "big": 12345678901234567890, "model" : %s,\t"temperature":0.10 }'
    )
    body = (template % '"auto"').encode()
    headers = [
        ("Host", f"assistant.{site.namespace}.svc"),
        ("X-First", "1"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("X-Second", "2, 3"),
        ("Accept", "text/plain;q=0.5"),
        ("X-Third", "ü".encode().decode("latin-1")),
        ("Content-Length", str(len(body))),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    answer = site.client(
        "raw",
        host=f"assistant.{site.namespace}.svc",
        port=80,
        head=f"POST {CHAT}?a=%2F&b=c%20d HTTP/1.1\r\n{head}\r\n",
        body=base64.b64encode(body).decode(),
    )
    assert answer["head"].startswith("HTTP/1.1 200 ")
    seen = [each for name in (PRO, MAX) for each in site.admin(name, "GET", "/requests")["requests"]]
    (record,) = seen
    provider = PRO if f"{PRO}-upstream" in record["body"] else MAX
    assert record["path"] == "/v1/chat/completions?a=%2F&b=c%20d"
    assert record["body"] == template % json.dumps(f"{provider}-upstream")
    ours = {name.lower() for name, _ in headers} - {"host", "content-length"}
    arrived = [name.lower() for name, _ in record["headers"] if name.lower() in ours]
    assert arrived == [name.lower() for name, _ in headers if name.lower() in ours]
    values = {name.lower(): value for name, value in record["headers"]}
    assert {name: values[name] for name in ours} == {n.lower(): v for n, v in headers if n.lower() in ours}
    assert not [name for name in values if name.startswith("x-mb-")]


def test_chunks_of_a_stream_arrive_one_by_one(site):
    gap, words, name = 0.2, 6, "slow-stream"
    # A provider with a pause between events, beside the three others.
    provider = models.provider(name, site.namespace, ["--event-gap", str(gap)])
    site.cluster.apply([*provider, backend(name, site.namespace)])
    site.cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", site.namespace, "--timeout=60s")
    rule = {"name": "slow", "candidates": [{"backend": name}]}
    site.cluster.apply([route("streams", site.namespace, [rule])])
    site.wait_serving("streams")
    url = f"http://streams.{site.namespace}.svc{CHAT}"
    result = site.client("stream", url=url, body={"max_tokens": words})
    assert result["status"] == 200
    assert result["text"].rstrip().endswith("data: [DONE]")
    pauses = [
        later - earlier for earlier, later in zip(result["arrivals"], result["arrivals"][1:], strict=False)
    ]
    # Role, words and finish: each but [DONE] is written a pause after the one before.
    assert sum(pause > gap / 2 for pause in pauses) >= words, result["arrivals"]


def test_the_gateway_lists_models_and_answers_404_in_the_shape_of_openai(site):
    base = f"http://assistant.{site.namespace}.svc"
    listed = site.client("http", method="GET", url=f"{base}/tech/v1/models")
    assert listed["status"] == 200, listed
    assert json.loads(listed["body"])["object"] == "list"
    lost = site.client("http", method="POST", url=f"{base}/elsewhere", json={})
    assert lost["status"] == 404
    assert set(json.loads(lost["body"])["error"]) == {"message", "type", "param", "code"}
