"""One number from Prometheus.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import json
import math
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from moltbot_operator.api import AnalysisMetric
from moltbot_operator.providers.gates import told
from moltbot_operator.providers.outbound import Address, Answer, Outbound, Unanswered
from moltbot_operator.rollout.ports import EffectError, Target

__all__ = ["TIMEOUT", "PrometheusSource"]

TIMEOUT: Final = timedelta(seconds=10)
"""Limit of one query."""

_ONLY_GET: Final = frozenset({405, 501})


class PrometheusSource:
    """Implements ports.Prometheus."""

    def __init__(self, outbound: Outbound, timeout: timedelta = TIMEOUT) -> None:
        self._outbound = outbound
        self._timeout = timeout

    async def query(self, metric: AnalysisMetric, target: Target) -> float | None:
        """The number that the query gives now; None where it gives none (no series, NaN).

        EffectError, with address and query, if Prometheus is not reached, refuses the query, or gives more
        than one series.
        """
        query = _filled(metric.query, target)
        url = metric.url or ""  # the schema asks for one with this source
        try:
            answer = await self._ask(url.rstrip("/") + "/api/v1/query", url, urlencode({"query": query}))
        except Unanswered as error:
            raise EffectError(f"{error} (query {query})") from None
        return _number(answer, f"{url}, query {query}")

    async def _ask(self, endpoint: str, shown: str, form: str) -> Answer:
        """By POST, since queries may be longer than an address; by GET where a server takes no POST."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        address = Address(endpoint, shown)
        answer = await self._outbound.send(
            "POST", address, timeout=self._timeout, headers=headers, content=form.encode()
        )
        if answer.status not in _ONLY_GET:
            return answer
        return await self._outbound.send("GET", Address(f"{endpoint}?{form}", shown), timeout=self._timeout)


def _filled(query: str, target: Target) -> str:
    """With the names of what is measured: they are DNS labels, so that they can end no string of PromQL."""
    for name in ("namespace", "revision", "route"):
        query = query.replace(f"${name}", getattr(target, name))
    return query


def _number(answer: Answer, where: str) -> float | None:
    if not answer.ok:
        because = f": {said}" if (said := told(answer)) else ""
        raise EffectError(f"{where}: answered {answer.status}{because}")
    try:
        document: Any = json.loads(answer.body)
        data = document["data"]
        kind, result = data["resultType"], data["result"]
        if kind == "vector":
            if len(result) > 1:
                raise EffectError(
                    f"{where}: gives {len(result)} series and not one number: aggregate them, as with sum()"
                )
            pair = result[0]["value"] if result else None
        elif kind == "scalar":
            pair = result
        else:
            raise EffectError(f"{where}: gives a {kind} and not one number: write an instant query")
        if pair is None:
            return None
        _, number = pair
        value = float(number)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise EffectError(f"{where}: the answer is not Prometheus's ({type(error).__name__})") from error
    return None if math.isnan(value) else value
