"""Approvals: a POST to a gate's address, whose status is its answer.

::

    2xx                                          passed
    4xx, but for 408, 425 and 429                refused; the message is the body's
    anything else, no answer, no connection      not known: ask again

The question's id is the same each time it is asked, in the body and as `Idempotency-Key`, so that a gate that
asks a person asks once.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from moltbot_operator.api import Gate
from moltbot_operator.providers.outbound import Address, Answer, Outbound, Unanswered
from moltbot_operator.rollout.ports import GateAnswer, GateVerdict, Target

__all__ = ["LATER", "Gates", "refuses", "told"]

LONGEST: Final = 256
"""Characters of a message that are kept."""

LATER: Final = frozenset({408, 425, 429})
"""Statuses of 4xx that say nothing about what was asked."""

_CLIENT, _SERVER = 400, 500


class Gates:
    """Implements Gatekeeper."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def ask(
        self, index: int, gate: Gate, bearer: str | None, target: Target, effect: str
    ) -> GateAnswer:
        """Asks once; never raises. `effect` is the question's id."""
        question = {
            "id": effect,
            "namespace": target.namespace,
            "route": target.route,
            "revision": target.revision,
            "preview": target.service,
        }
        address = Address(gate.url, f"gates[{index}] ({gate.url})", bearer)
        headers = {"content-type": "application/json", "idempotency-key": effect}
        content = json.dumps(question).encode()
        try:
            answer = await self._outbound.send(
                "POST", address, timeout=gate.timeout, headers=headers, content=content
            )
        except Unanswered as error:
            return GateAnswer(GateVerdict.AGAIN, str(error))
        return _meant(answer, address.shown)


def _meant(answer: Answer, shown: str) -> GateAnswer:
    said = told(answer)
    if answer.ok:
        return GateAnswer(GateVerdict.PASSED, said or f"{shown} answered {answer.status}")
    because = f": {said}" if said else ""
    if refuses(answer):
        return GateAnswer(GateVerdict.REFUSED, f"{shown} refused with {answer.status}{because}")
    return GateAnswer(GateVerdict.AGAIN, f"{shown} answered {answer.status}{because}")


def refuses(answer: Answer) -> bool:
    """Whether the same question would be answered the same again."""
    return _CLIENT <= answer.status < _SERVER and answer.status not in LATER


def told(answer: Answer) -> str:
    """What a body says: `message` or `reason` of a JSON object (or its `error`), else a text's first line."""
    text = answer.body.decode(errors="replace")
    try:
        document: Any = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, Mapping):
        inner = document.get("error")
        of = inner if isinstance(inner, Mapping) else document
        found = next((of[key] for key in ("message", "reason", "error") if isinstance(of.get(key), str)), "")
    elif document is None and not text.lstrip().startswith("<"):
        found = text.strip().partition("\n")[0]
    else:
        found = ""
    printable = "".join(each if each.isprintable() else " " for each in found).strip()
    return printable if len(printable) <= LONGEST else f"{printable[: LONGEST - 1]}…"
