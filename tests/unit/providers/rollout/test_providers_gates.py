"""Gates: what each answer means, on a real server."""

import json
from datetime import timedelta

import pytest
from moltbot_hooks import Reply

from moltbot_operator.api import Gate
from moltbot_operator.providers.gates import LONGEST, Gates, told
from moltbot_operator.providers.outbound import Answer, Outbound
from moltbot_operator.rollout.ports import GateVerdict

LIMIT = timedelta(seconds=20)
SHORT = timedelta(milliseconds=1000)


@pytest.fixture
def asked(outbound, hooks, target):
    async def ask(*answers, limit=LIMIT, bearer=None, url=None):
        hooks.answers = list(answers) or [200]
        gate = Gate(url=url or f"{hooks.url}/approve").model_copy(update={"timeout": limit})
        return await Gates(outbound).ask(2, gate, bearer, target, "id-1")

    return ask


async def test_the_question_says_what_is_asked_and_shows_the_token(asked, hooks):
    answer = await asked(Reply(200, b'{"message": "fine"}'), bearer="s3cret")
    assert (answer.verdict, answer.message) == (GateVerdict.PASSED, "fine")
    (request,) = hooks.requests
    assert (request.method, request.path) == ("POST", "/approve")
    assert json.loads(request.body) == {
        "id": "id-1",
        "namespace": "shop",
        "route": "assistant",
        "revision": "bbb",
        "preview": "http://assistant-preview.shop.svc:80",
    }
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert request.headers["Idempotency-Key"] == "id-1"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_2xx_passes(asked, status):
    assert (await asked(status)).verdict is GateVerdict.PASSED


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_4xx_refuses_with_what_the_body_says(asked, hooks, status):
    answer = await asked(Reply(status, b'{"message": "not on a Friday"}'))
    assert answer.verdict is GateVerdict.REFUSED
    assert answer.message == f"gates[2] ({hooks.url}/approve) refused with {status}: not on a Friday"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 408, 425, 429, 500, 502, 503, 504])
async def test_anything_else_is_asked_again(asked, hooks, status):
    answer = await asked(Reply(status, headers={"location": f"{hooks.url}/elsewhere"}))
    assert answer.verdict is GateVerdict.AGAIN
    assert len(hooks.requests) == 1  # a redirect is not followed: what is sent may be secret


@pytest.mark.parametrize("fault", ["hang", "cut", "drip"])
async def test_no_whole_answer_is_asked_again(asked, fault):
    answer = await asked(Reply(fault=fault), limit=SHORT, bearer="s3cret")
    assert answer.verdict is GateVerdict.AGAIN
    assert "gates[2] (http://127.0.0.1:" in answer.message
    assert "s3cret" not in answer.message


async def test_nobody_there_is_asked_again(asked):
    answer = await asked(url="http://127.0.0.1:1/x")
    assert answer.verdict is GateVerdict.AGAIN
    assert answer.message == "gates[2] (http://127.0.0.1:1/x) can't be connected to"


LOCAL = ["http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/x", "http://[::1]/"]


@pytest.mark.parametrize("url", LOCAL)
async def test_the_operators_own_pod_and_node_are_not_asked(target, url):
    async with Outbound() as careful:
        answer = await Gates(careful).ask(0, Gate(url=url), None, target, "id-1")
    assert answer.verdict is GateVerdict.AGAIN
    assert "own address" in answer.message


async def test_a_token_that_is_no_header_is_not_sent(asked, hooks):
    answer = await asked(200, bearer="two\nlines")
    assert answer.verdict is GateVerdict.AGAIN
    assert "two" not in answer.message
    assert not hooks.requests


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"reason": "no"}', "no"),
        (b"no\nmore", "no"),
        (b"<html>no</html>", ""),
        (b"[1]", ""),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        (b"a\x1b[31mb", "a [31mb"),
        (b"", ""),
    ],
)
def test_what_a_body_says(body, said):
    assert told(Answer(400, body)) == said


def test_what_a_body_says_is_bounded():
    assert len(told(Answer(400, b"x" * 60_000))) == LONGEST
