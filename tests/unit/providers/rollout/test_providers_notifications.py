"""Notifications: forms, signatures, and what is tried again."""

import base64
import hashlib
import hmac
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moltbot_hooks import Reply

from moltbot_operator.api import Notification, NotificationEvent, NotificationFormat
from moltbot_operator.providers.notifications import Notifications, Patience, body_of, signature
from moltbot_operator.rollout.ports import EffectError, RolloutEvent

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVENT = RolloutEvent(
    "n-1", NotificationEvent.ROLLED_BACK, "shop", "assistant", "bbb", "aaa", "p95 <1 & too high", NOW
)
QUICK = Patience(4, timedelta(milliseconds=1), timedelta(milliseconds=5))
REFERENCE = {"secretRef": {"name": "hook", "key": "value"}}


@pytest.fixture
def sent(outbound, hooks):
    async def send(*answers, secret=None, hidden=False, **spec):
        """What was raised; empty if it was delivered. `hidden`: the address comes from the Secret."""
        hooks.answers = list(answers)
        url = f"{hooks.url}/services/T0/s3cret" if hidden else f"{hooks.url}/hook"
        given = {**spec, **(REFERENCE if secret or hidden else {}), **({} if hidden else {"url": url})}
        notification = Notification.model_validate(given)
        notifier = Notifications(outbound, lambda: NOW, QUICK)
        try:
            await notifier.send(notification, url if hidden else secret, EVENT)
        except EffectError as error:
            return str(error)
        return ""

    return send


async def test_generic_is_a_plain_object(sent, hooks):
    assert await sent(200) == ""
    (request,) = hooks.requests
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "id": "n-1",
        "time": "2026-01-02T03:04:05+00:00",
        "event": "RolledBack",
        "namespace": "shop",
        "route": "assistant",
        "revision": "bbb",
        "previous": "aaa",
        "message": "p95 <1 & too high",
    }


async def test_a_cloud_event_is_in_structured_form(sent, hooks):
    await sent(202, format="CloudEvents")
    (request,) = hooks.requests
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    event = json.loads(request.body)
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": "n-1",
        "source": "/apis/moltbot.io/v1alpha1/namespaces/shop/moltbotroutes/assistant",
        "type": "io.moltbot.rollout.rolledback",
        "subject": "bbb",
        "time": "2026-01-02T03:04:05+00:00",
        "datacontenttype": "application/json",
    }
    assert data["event"] == "RolledBack"


async def test_slack_gets_text_that_can_not_be_markup(sent, hooks):
    await sent(200, format="Slack")
    message = json.loads(hooks.requests[0].body)
    assert message["text"] == "shop/assistant: RolledBack bbb: p95 &lt;1 &amp; too high"
    assert "*shop/assistant*" in message["blocks"][0]["text"]["text"]


@pytest.mark.parametrize("event", NotificationEvent)
@pytest.mark.parametrize("form", NotificationFormat)
def test_every_event_has_every_form(form, event):
    content, _ = body_of(form, replace(EVENT, event=event))
    assert str(event) in json.dumps(json.loads(content))


async def test_a_signature_can_be_verified_as_the_standard_says(sent, hooks):
    secret = base64.b64encode(b"0" * 32).decode()
    await sent(200, secret=f"whsec_{secret}")
    (request,) = hooks.requests
    stamp = request.headers["webhook-timestamp"]
    assert stamp == str(int(NOW.timestamp()))
    signed = f"{request.headers['webhook-id']}.{stamp}.".encode() + request.body
    expected = base64.b64encode(hmac.new(base64.b64decode(secret), signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


async def test_without_a_key_nothing_is_signed(sent, hooks):
    await sent(200)
    assert "webhook-signature" not in hooks.requests[0].headers


@given(st.text(min_size=1), st.binary(), st.binary())
def test_another_body_or_key_has_another_signature(key, one, other):
    made = signature(key, "n", "1", one)
    assert made == signature(key, "n", "1", one)
    assert (made == signature(key, "n", "1", other)) == (one == other)
    assert made != signature(key, "n", "2", one)
    assert made != signature(f"{key}x", "n", "1", one)


async def test_it_is_sent_again_under_the_same_id_until_it_is_taken(sent, hooks):
    assert await sent(503, 429, Reply(fault="cut"), 200) == ""
    assert len(hooks.requests) == 4
    assert {request.headers["webhook-id"] for request in hooks.requests} == {"n-1"}
    assert len({request.body for request in hooks.requests}) == 1


async def test_it_is_given_up_after_so_many_attempts(sent, hooks):
    assert await sent(500) == f"{hooks.url}/hook answered 500, 4 times; given up"
    assert len(hooks.requests) == 4


async def test_a_refusal_is_not_tried_again(sent, hooks):
    said = await sent(Reply(403, b"no such channel"))
    assert said == f"{hooks.url}/hook refused with 403: no such channel"
    assert len(hooks.requests) == 1


async def test_a_bearer_token_is_sent_only_where_the_secret_is_one(sent, hooks):
    await sent(200, secret="t0k3n", authentication="Bearer")
    await sent(200, secret="t0k3n")
    bearer, signed = hooks.requests
    assert bearer.headers["Authorization"] == "Bearer t0k3n"
    assert "webhook-signature" not in bearer.headers
    assert "Authorization" not in signed.headers
    assert "webhook-signature" in signed.headers


async def test_a_secret_that_is_not_there_sends_nothing(outbound, hooks):
    notification = Notification.model_validate({"url": hooks.url, **REFERENCE})
    with pytest.raises(EffectError, match="Secret hook, key value has no value"):
        await Notifications(outbound, lambda: NOW, QUICK).send(notification, None, EVENT)
    assert not hooks.requests


@pytest.mark.parametrize("answer", [500, 403, Reply(fault="cut"), Reply(302, headers={"location": "/x"})])
async def test_a_secret_address_is_in_no_message_and_no_log(sent, caplog, answer):
    caplog.set_level(logging.DEBUG)
    said = await sent(answer, hidden=True, format="Slack")
    assert "the address in Secret hook, key value" in said
    assert "s3cret" not in said
    ours = [record for record in caplog.records if not record.name.startswith("aiohttp")]  # the test's server
    assert "s3cret" not in " ".join(record.getMessage() for record in ours)


async def test_an_address_that_is_none_is_not_shown(outbound):
    notification = Notification.model_validate(REFERENCE)
    with pytest.raises(EffectError) as error:
        await Notifications(outbound, lambda: NOW, QUICK).send(notification, "not-a-url/s3cret", EVENT)
    assert "s3cret" not in str(error.value)
