"""The dashboard's expressions of gateways find series in what a gateway that has served exports."""

import contextlib
import re

import httpx
from gateway_bed import backend, route, rule, serving, until
from moltbot_provider import Provider

from moltbot_operator.dashboard import EXPRESSIONS

METRIC = re.compile(r"\b((?:moltbot|gen_ai)_[a-z0-9_]+)\{")
ABSENT = {"moltbot_agent_credential_expiry_seconds"}
"""Only where a backend is sent tokens."""


async def test_a_gateway_exports_what_the_dashboard_shows(tmp_path):
    async with Provider(name="a") as a:
        objects = [route(rule("all", ["a"])), *backend("a", a.url, key="k", model="m")]
        async with serving(*objects, folder=tmp_path) as bed, httpx.AsyncClient() as client:
            assert (await bed.chat()).status_code == 200
            await bed.records(1)
            metrics = f"http://127.0.0.1:{bed.running.metrics_port}/metrics"
            shown = {name for expression in EXPRESSIONS for name in METRIC.findall(expression)}
            assert len(shown) > 15

            async def missing():
                text = (await client.get(metrics)).text
                return shown - ABSENT - set(re.findall(r"^(\w+)", text, re.MULTILINE))

            async def there():  # Envoy puts histograms together every few seconds
                return not await missing()

            with contextlib.suppress(TimeoutError):
                await until(there, 30)
            assert await missing() == set()
