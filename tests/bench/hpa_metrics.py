"""The custom and external metrics APIs over the recorded loads, as the API server's aggregator calls them.

The HPA asks for its metrics once a sync: each such question is a look, at which our scaler looks too, and
whose outcome is in the Deployment by the next one.

Source: https://github.com/kubernetes/metrics (custom.metrics.k8s.io/v1beta2, external.metrics.k8s.io/v1beta1)
"""

import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web
from hpa_fleets import Workers
from hpa_shapes import Shape

from moltbot_operator.kube.kinds import DEPLOYMENT

PERIOD = 1.5
"""Seconds between two syncs of the HPA."""

IN_FLIGHT = "moltbot_worker_in_flight"
QUEUE = "moltbot_worker_queue_depth"
SERVICE = "metrics"
NAMESPACE = "hpa-metrics"
DEPLOYED = "workers"
VERSIONS = {
    "custom.metrics.k8s.io": ("v1beta2", f"pods/{IN_FLIGHT}", "MetricValueList"),
    "external.metrics.k8s.io": ("v1beta1", QUEUE, "ExternalMetricValueList"),
}


@dataclass
class Track:
    """One load's looks: what both scalers had after each."""

    shape: Shape
    seconds: list[float] = field(default_factory=list)
    ours: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Why ours is what it is."""
    hpa: list[int] = field(default_factory=list)
    """One shorter while the last look is under way."""


class MetricsApi:
    """Serves one load in each namespace, from the first question on; `tracks` is what came of it."""

    def __init__(self, kube, pods, shapes):
        self._kube, self._pods = kube, pods
        self.tracks = {name: Track(shape) for name, shape in shapes.items()}
        self._workers = {name: Workers(shape) for name, shape in shapes.items()}
        self._began = {}

    async def serve(self, authority, port):
        """On loopback, for clients with a certificate of the bed's authority; the runner to clean up."""
        pair = authority.issue("metrics", "metrics", names=[f"DNS:{SERVICE}.{NAMESPACE}.svc"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pair.cert, pair.key)
        app = web.Application()
        app.router.add_get("/apis/{group}/{version}", self._discover)
        prefix = "/apis/{group}/{version}/namespaces/{namespace}"
        app.router.add_get(prefix + f"/pods/*/{IN_FLIGHT}", self._of_pods)
        app.router.add_get(prefix + f"/{QUEUE}", self._of_queue)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "localhost", port, ssl_context=context).start()
        return runner

    async def _discover(self, request):
        group = request.match_info["group"]
        version, name, kind = VERSIONS[group]
        resource = {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
        listed = {"groupVersion": f"{group}/{version}", "resources": [resource]}
        return web.json_response({"kind": "APIResourceList", "apiVersion": "v1", **listed})

    async def _of_pods(self, request):
        name = request.match_info["namespace"]
        at, shape = await self._look(name, "in-flight"), self.tracks[name].shape
        if shape.total("in-flight", at) is None:
            return _away()
        told = shape.told("in-flight", at, self._pods.running(name))
        items = [
            {
                "describedObject": {"kind": "Pod", "namespace": name, "name": pod, "apiVersion": "v1"},
                "metric": {"name": IN_FLIGHT, "selector": None},
                **_value(value),
            }
            for pod, value in told.items()
        ]
        return _listed("custom.metrics.k8s.io", items)

    async def _of_queue(self, request):
        name = request.match_info["namespace"]
        at, shape = await self._look(name, "queue"), self.tracks[name].shape
        total = shape.total("queue", at)
        if total is None:
            return _away()
        return _listed(
            "external.metrics.k8s.io", [{"metricName": QUEUE, "metricLabels": {}, **_value(total)}]
        )

    async def _look(self, name, metric):
        """The second of the present look; a sync's first question begins it."""
        track = self.tracks[name]
        first = track.shape.scaling.metrics[0].name == metric
        at = time.monotonic() - self._began.setdefault(name, time.monotonic())
        if track.seconds and (not first or at - track.seconds[-1] < PERIOD / 2):
            return track.seconds[-1]
        now = datetime.now(UTC)
        found = await self._kube.get(DEPLOYMENT, name, DEPLOYED)
        if track.seconds:  # what the HPA made of the look before
            track.hpa.append(found["spec"]["replicas"])
        decision = self._workers[name].look(at, now)
        track.seconds.append(at)
        track.ours.append(decision.replicas)
        track.notes.append(decision.message)
        return at


def _value(value):
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"timestamp": now, "value": f"{round(value * 1000)}m"}


def _listed(group, items):
    version, _, kind = VERSIONS[group]
    return web.json_response(
        {"kind": kind, "apiVersion": f"{group}/{version}", "metadata": {}, "items": items}
    )


def _away():
    failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500}
    return web.json_response({**failure, "message": "the metric cannot be had"}, status=500)
