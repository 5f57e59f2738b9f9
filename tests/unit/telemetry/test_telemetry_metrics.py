from datetime import timedelta

import aiohttp
import pytest
from yarl import URL

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.connection import ApiCall
from moltbot_operator.kube.events import EventRecorder
from moltbot_operator.kube.kinds import SECRET
from moltbot_operator.kube.queue import Key, Queue
from moltbot_operator.telemetry.health import HealthServer
from moltbot_operator.telemetry.metrics import Metrics

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("method", "url", "verb", "resource"),
    [
        ("GET", "/api/v1/secrets?limit=500", "list", "secrets"),
        ("GET", "/api/v1/namespaces/a/secrets/b", "get", "secrets"),
        ("GET", "/api/v1/namespaces/a/secrets", "list", "secrets"),
        ("GET", "/api/v1/namespaces", "list", "namespaces"),
        ("GET", "/api/v1/namespaces/a", "get", "namespaces"),
        ("GET", "/apis/apps/v1/deployments?watch=true", "watch", "deployments"),
        (
            "PATCH",
            "/apis/moltbot.io/v1alpha1/namespaces/a/moltbotroutes/b/status",
            "patch",
            "moltbotroutes/status",
        ),
        ("POST", "/apis/events.k8s.io/v1/namespaces/a/events", "create", "events"),
        ("DELETE", "/api/v1/namespaces/a/services/b", "delete", "services"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "update", "leases"),
        ("GET", "/apis", "list", ""),
    ],
)
def test_calls_are_told_apart_as_the_api_server_does(method, url, verb, resource):
    call = ApiCall.of(method, URL("https://x" + url), 200, SECOND)
    assert (call.verb, call.resource) == (verb, resource)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels or None)


def test_reconciles_calls_and_writes_are_counted():
    metrics = Metrics()
    metrics.reconciled(Key("Route", "a", "b"), "success", SECOND)
    metrics.reconciled(Key("Route", "a", "b"), "error", SECOND)
    for method, status in (("PATCH", 200), ("PATCH", 409), ("GET", 200), ("PATCH", 0)):
        url = URL("https://x/api/v1/namespaces/a/services/b")
        metrics.called(ApiCall.of(method, url, status, SECOND))
    assert value(metrics, "moltbot_reconcile_total", kind="Route", outcome="error") == 1
    assert value(metrics, "moltbot_reconcile_seconds_sum", kind="Route") == 2
    assert value(metrics, "moltbot_api_calls_total", verb="patch", resource="services", code="409") == 1
    assert value(metrics, "moltbot_writes_total", verb="patch", resource="services") == 1, (
        "accepted ones only"
    )


async def test_sizes_are_read_at_each_scrape():
    metrics, cache, queue = Metrics(), Cache(), Queue()
    metrics.observe(cache, queue, EventRecorder(None, instance="x"))
    assert value(metrics, "moltbot_queue_depth") == 0
    queue.add(Key("Route", "a", "b"))
    cache.put(SECRET, {"metadata": {"name": "s", "namespace": "a", "uid": "u", "resourceVersion": "1"}})
    assert value(metrics, "moltbot_queue_depth") == 1
    assert value(metrics, "moltbot_cache_objects", kind="Secret") == 1


async def test_endpoints_and_reasons_for_not_being_ready():
    reason = None
    server = HealthServer(Metrics(), lambda: reason, address="127.0.0.1", health_port=0, metrics_port=0)
    async with server, aiohttp.ClientSession() as http:

        async def ask(port, path):
            async with http.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, await response.text()

        health, metrics = server.ports
        assert await ask(health, "/healthz") == (200, "ok\n")
        assert await ask(health, "/readyz") == (200, "ok\n")
        reason = "listing the cluster"
        assert await ask(health, "/readyz") == (503, "listing the cluster\n")
        assert await ask(health, "/healthz") == (200, "ok\n")
        assert (await ask(health, "/metrics"))[0] == 404
        status, text = await ask(metrics, "/metrics")
        assert status == 200
        assert "moltbot_build_info" in text
        assert "process_cpu_seconds_total" in text
