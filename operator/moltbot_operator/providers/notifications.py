"""Telling somebody how a rollout goes: a POST in one of three forms, signed where there is a key.

Signatures follow Standard Webhooks (https://www.standardwebhooks.com), so that its libraries verify them::

    webhook-id: the event's id, the same at each attempt: who has seen it leaves it
    webhook-timestamp: seconds since 1970, of this attempt
    webhook-signature: v1,BASE64(HMAC-SHA256(key, "ID.TIMESTAMP.BODY"))

An event is sent again, with growing pauses, until it is taken (2xx), refused (4xx) or the attempts are used
up.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import tenacity

from moltbot_operator.api import (
    Notification,
    NotificationAuthentication,
    NotificationEvent,
    NotificationFormat,
)
from moltbot_operator.constants import API_VERSION, ROUTES
from moltbot_operator.providers.gates import refuses, told
from moltbot_operator.providers.outbound import Address, Answer, Outbound, Unanswered
from moltbot_operator.rollout.ports import EffectError, RolloutEvent

__all__ = ["Notifications", "Patience", "body_of", "signature"]

TIMEOUT: Final = timedelta(seconds=10)
"""Limit of one attempt."""

_PREFIX: Final = "whsec_"


@dataclass(frozen=True)
class Patience:
    """How often, and with which pauses."""

    attempts: int = 5
    first: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(seconds=30)


class Notifications:
    """Implements Notifier."""

    def __init__(
        self, outbound: Outbound, clock: Callable[[], datetime], patience: Patience | None = None
    ) -> None:
        """`clock` gives the time with its zone."""
        self._outbound = outbound
        self._clock = clock
        self._patience = patience or Patience()

    async def send(self, notification: Notification, secret: str | None, event: RolloutEvent) -> None:
        """Delivered when it returns; EffectError if it is refused, or the attempts are used up."""
        address = _address(notification, secret)
        signs = notification.authentication is NotificationAuthentication.SIGNATURE
        key = secret if notification.url is not None and signs else None
        content, kind = body_of(notification.format, event)
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._patience.attempts),
            wait=tenacity.wait_random_exponential(
                multiplier=self._patience.first.total_seconds(), max=self._patience.longest.total_seconds()
            ),
            retry=tenacity.retry_if_exception_type(Unanswered),
            reraise=True,
        )
        try:
            answer: Answer = await retrying(self._attempt, address, event.id, content, kind, key)
        except Unanswered as error:
            raise EffectError(f"{error}, {self._patience.attempts} times; given up") from None
        if not answer.ok:
            because = f": {said}" if (said := told(answer)) else ""
            raise EffectError(f"{address.shown} refused with {answer.status}{because}")

    async def _attempt(
        self, address: Address, event_id: str, content: bytes, kind: str, key: str | None
    ) -> Answer:
        headers = {"content-type": kind, "webhook-id": event_id}
        if key is not None:
            stamp = str(int(self._clock().timestamp()))
            headers["webhook-timestamp"] = stamp
            headers["webhook-signature"] = signature(key, event_id, stamp, content)
        answer = await self._outbound.send("POST", address, timeout=TIMEOUT, headers=headers, content=content)
        if answer.ok or refuses(answer):
            return answer
        raise Unanswered(f"{address.shown} answered {answer.status}")


def _address(notification: Notification, secret: str | None) -> Address:
    reference = notification.secret_ref
    named = f"Secret {reference.name}, key {reference.key}" if reference else "secretRef"
    if reference is not None and secret is None:
        raise EffectError(f"{named} has no value: create it")
    if notification.url is None:
        return Address((secret or "").strip(), f"the address in {named}")
    bears = notification.authentication is NotificationAuthentication.BEARER
    return Address(notification.url, notification.url, secret if bears else None)


def signature(key: str, event_id: str, timestamp: str, content: bytes) -> str:
    """Value of `webhook-signature`. A key is base64 behind `whsec_`, as in the standard, else text."""
    raw = key.encode()
    if key.startswith(_PREFIX):
        try:
            raw = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raw = key.encode()
    signed = b".".join((event_id.encode(), timestamp.encode(), content))
    return f"v1,{base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()}"


def body_of(form: NotificationFormat, event: RolloutEvent) -> tuple[bytes, str]:
    """The body, and its content type."""
    match form:
        case NotificationFormat.SLACK:
            return _encoded(_slack(event)), "application/json"
        case NotificationFormat.CLOUD_EVENTS:
            return _encoded(_cloud_event(event)), "application/cloudevents+json"
        case NotificationFormat.GENERIC:
            return _encoded(
                {"id": event.id, "time": event.at.isoformat(), **_data(event)}
            ), "application/json"


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _data(event: RolloutEvent) -> dict[str, Any]:
    return {
        "event": str(event.event),
        "namespace": event.namespace,
        "route": event.route,
        "revision": event.revision,
        "previous": event.previous,
        "message": event.message,
    }


def _cloud_event(event: RolloutEvent) -> dict[str, Any]:
    """https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, §3.2."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/apis/{API_VERSION}/namespaces/{event.namespace}/{ROUTES}/{event.route}",
        "type": f"io.moltbot.rollout.{event.event.lower()}",
        "subject": event.revision,
        "time": event.at.isoformat(),
        "datacontenttype": "application/json",
        "data": _data(event),
    }


_MARKS: Final = {
    NotificationEvent.STARTED: ":hourglass_flowing_sand:",
    NotificationEvent.PAUSED: ":double_vertical_bar:",
    NotificationEvent.PROMOTED: ":large_green_circle:",
    NotificationEvent.COMPLETED: ":white_check_mark:",
    NotificationEvent.ROLLED_BACK: ":rewind:",
    NotificationEvent.FAILED: ":x:",
    NotificationEvent.ABORTED: ":octagonal_sign:",
}


def _slack(event: RolloutEvent) -> dict[str, Any]:
    """An incoming webhook's message (https://docs.slack.dev/messaging/formatting-message-text)."""
    name, message = _escaped(f"{event.namespace}/{event.route}"), _escaped(event.message)
    title = f"{_MARKS[event.event]} *{name}*: {event.event} `{event.revision}`"
    block = {"type": "section", "text": {"type": "mrkdwn", "text": f"{title}\n{message}"}}
    return {"text": f"{name}: {event.event} {event.revision}: {message}", "blocks": [block]}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
