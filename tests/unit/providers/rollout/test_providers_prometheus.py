"""Queries: one number, no number, or an error that says where and what."""

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from moltbot_hooks import Reply

from moltbot_operator.api import AnalysisMetric
from moltbot_operator.providers.prometheus import PrometheusSource
from moltbot_operator.rollout.ports import EffectError

QUERY = 'sum(rate(x{a="b"}[1m]))'


def vector(*values):
    result = [{"metric": {}, "value": [1700000000.1, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


@pytest.fixture
def queried(outbound, hooks, target):
    async def query(*answers, limit=timedelta(seconds=20), text=QUERY):
        hooks.answers = list(answers)
        metric = AnalysisMetric(
            name="m", source="Prometheus", url=f"{hooks.url}/base/", query=text, success_condition=">= 1"
        )
        return await PrometheusSource(outbound, limit).query(metric, target)

    return query


async def test_a_vector_of_one_is_its_number(queried, hooks):
    assert await queried(Reply(200, vector("0.995"))) == 0.995
    (request,) = hooks.requests
    assert (request.method, request.path) == ("POST", "/base/api/v1/query")
    assert parse_qs(request.body.decode()) == {"query": [QUERY]}


async def test_a_scalar_is_its_number(queried):
    body = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1, "+Inf"]}}).encode()
    assert await queried(Reply(200, body)) == float("inf")


@pytest.mark.parametrize("values", [(), ("NaN",)])
async def test_nothing_and_nan_are_no_data(queried, values):
    assert await queried(Reply(200, vector(*values))) is None


async def test_a_server_that_takes_no_post_is_asked_by_get(queried, hooks):
    assert await queried(405, Reply(200, vector("1"))) == 1
    assert hooks.requests[1].method == "GET"
    assert parse_qs(urlsplit(hooks.requests[1].path).query) == {"query": [QUERY]}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(400, b'{"status": "error", "error": "parse error"}'), "answered 400: parse error"),
        (Reply(503), "answered 503"),
        (Reply(302, headers={"location": "/elsewhere"}), "answered 302"),
        (Reply(200, b"<html>"), "not Prometheus's"),
        (Reply(200, b'{"data": {"resultType": "vector", "result": [{"value": [1]}]}}'), "not Prometheus's"),
        (Reply(200, b'{"data": null}'), "not Prometheus's"),
        (Reply(200, vector("1", "2")), "gives 2 series"),
        (Reply(200, b'{"data": {"resultType": "matrix", "result": []}}'), "gives a matrix"),
        (Reply(fault="cut"), "can't be asked"),
        (Reply(fault="hang"), "no answer within 1 s"),
    ],
)
async def test_anything_else_is_an_error_that_names_address_and_query(queried, hooks, reply, says):
    with pytest.raises(EffectError, match=says) as error:
        await queried(reply, limit=timedelta(milliseconds=1000 if reply.fault else 20_000))
    assert hooks.url in str(error.value)
    assert QUERY in str(error.value)


async def test_the_names_of_what_is_measured_are_put_in(queried, hooks):
    text = 'x{namespace="$namespace",route="$route",revision="$revision"}'
    await queried(Reply(200, vector("1")), text=text)
    sent = parse_qs(hooks.requests[0].body.decode())["query"]
    assert sent == ['x{namespace="shop",route="assistant",revision="bbb"}']
