"""What the api tier puts in place of nodes and gateway pods, and the bench that tests work at."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from api_bed import ApiBed

from moltbot_operator import operator_process
from moltbot_operator.api import AnalysisMetric, Gate, Notification, Testing
from moltbot_operator.constants import LABEL_MANAGED_BY, LABEL_REVISION, LABEL_ROUTE, MANAGED_BY
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.kinds import MODEL_BACKEND, MOLTBOT_ROUTE, POD, SECRET, Kind
from moltbot_operator.objectives import Counts
from moltbot_operator.reconcile.evidence import (
    EnvoyEvidence,
    Evidence,
    EvidenceUnavailable,
    RequestsEvidence,
)
from moltbot_operator.rollout.ports import (
    EffectError,
    GateAnswer,
    GateVerdict,
    Ports,
    RolloutEvent,
    Target,
    TestOutcome,
)
from moltbot_operator.settings import Settings

OPERATOR_USER = "moltbot-operator-under-test"

GROUP_VERSION = "moltbot.io/v1alpha1"

Manifest = dict[str, Any]


async def eventually(
    what: str, probe: Callable[[], Awaitable[Any]], seconds: float = 30, every: float = 0.1
) -> Any:
    """The first true result of `probe`; AssertionError with its last result at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = await probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s; last: {found!r}")
        await asyncio.sleep(every)


class StandInEvidence:
    """Says of every pod that it runs the revision of its label, unless told otherwise."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        """Routes whose pods give no evidence."""
        self.stale: dict[str, str] = {}
        """Routes whose pods report another revision."""
        self.refused: set[str] = set()
        """Routes whose new revisions Envoy refuses: all but those in `sound`."""
        self.sound: set[str] = set()
        """Revisions with which nothing is ever wrong."""
        self.bad: dict[str, float] = {}
        """Routes whose new revisions answer this share of requests badly (and slowly)."""
        self.quiet: set[str] = set()
        """Routes that nobody calls."""
        self.reads = 0
        self.tokens: set[str] = set()
        self._counted: dict[str, tuple[int, int]] = {}

    async def read(self, pod: Manifest, token: str) -> Evidence:
        self.reads += 1
        self.tokens.add(token)
        labels = pod["metadata"]["labels"]
        route = labels[LABEL_ROUTE]
        if route in self.silent:
            raise EvidenceUnavailable("its agent does not answer (stand-in)")
        revision = self.stale.get(route, labels[LABEL_REVISION])
        sound = labels[LABEL_REVISION] in self.sound
        return Evidence(
            namespace=pod["metadata"]["namespace"],
            route=route,
            revision=revision,
            envoy=EnvoyEvidence(
                live=sound or route not in self.refused, revision=revision, version="stand-in"
            ),
            requests=self._requests(pod, 0.0 if sound else self.bad.get(route, 0.0)),
        )

    def _requests(self, pod: Manifest, bad: float) -> RequestsEvidence:
        """A hundred more at each look; good ones take up to 0.1 s, bad ones up to 5 s."""
        uid, labels = pod["metadata"]["uid"], pod["metadata"]["labels"]
        ended, well = self._counted.get(uid, (0, 0))
        if labels[LABEL_ROUTE] not in self.quiet:
            ended, well = ended + 100, well + 100 - int(100 * bad)
        self._counted[uid] = ended, well
        return RequestsEvidence(ended=ended, well=well, buckets=((0.1, well), (5.0, ended), (None, ended)))


CONTAINER = {"image": "gateway:test", "imageID": "", "ready": False, "restartCount": 3}


class StandInOutside:
    """The world outside of rollouts: answers as a test sets them, by route."""

    def __init__(self) -> None:
        self.tests: dict[str, TestOutcome] = {}
        self.gates: dict[str, GateAnswer] = {}
        self.hanging: set[str] = set()
        """Routes whose gates don't answer before their timeout."""
        self.values: dict[str, float | None] = {}
        """What Prometheus says of each route's new revisions; 1.0 by default."""
        self.down: set[str] = set()
        """Routes whose Prometheus does not answer."""
        self.asked: list[str] = []
        """Ids of the effects so far."""
        self.told: list[RolloutEvent] = []
        self.deaf = False
        """Whether notifications get lost."""

    @property
    def ports(self) -> Ports:
        return Ports(tester=self, gatekeeper=self, prometheus=self, notifier=self)

    async def test(self, target: Target, testing: Testing, effect: str) -> TestOutcome:
        assert testing.requests
        assert target.pods
        assert target.token
        self.asked.append(effect)
        return self.tests.get(target.route, TestOutcome(True, "all passed"))

    async def probe(self, target: Target, testing: Testing, samples: int, effect: str) -> Counts:
        assert testing.requests
        self.asked.append(effect)
        bad = not self.tests.get(target.route, TestOutcome(True, "")).passed
        return Counts(samples, 0 if bad else samples, buckets=((0.1, samples), (float("inf"), samples)))

    async def ask(
        self, index: int, gate: Gate, bearer: str | None, target: Target, effect: str
    ) -> GateAnswer:
        assert index == 0
        assert bearer in {None, "a-bearer"}
        self.asked.append(effect)
        if target.route in self.hanging:
            await asyncio.sleep(gate.timeout.total_seconds())
            return GateAnswer(GateVerdict.AGAIN, "no answer in time")
        return self.gates.get(target.route, GateAnswer(GateVerdict.PASSED))

    async def query(self, metric: AnalysisMetric, target: Target) -> float | None:
        assert metric.url
        if target.route in self.down:
            raise EffectError("Prometheus does not answer (stand-in)")
        return self.values.get(target.route, 1.0)

    async def send(self, notification: Notification, secret: str | None, event: RolloutEvent) -> None:
        assert secret is None or notification.secret_ref
        if self.deaf:
            raise EffectError("500 (stand-in)")
        self.told.append(event)


class StandInKubelet:
    """Makes pods Ready that carry our label: there is no node, so nothing runs. Pods go as soon as they
    are deleted.
    """

    def __init__(self, kube: KubeCluster, namespace: str | None = None) -> None:
        self._kube = kube
        self._namespace = namespace
        self.broken: set[str] = set()
        """Routes whose pods never get ready."""
        self.crashing: set[str] = set()
        """Routes whose pods crash."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            page = None
            async for page in self._kube.pages(
                POD, self._namespace, labels=f"{LABEL_MANAGED_BY}={MANAGED_BY}"
            ):
                for pod in page.items:
                    await self._attend(pod)
            since = page.resource_version if page else "0"
            with suppress(ClusterError):  # a watch that ends is begun anew, from a list
                async for event in self._kube.watch(
                    POD,
                    self._namespace,
                    since=since,
                    lifetime=timedelta(minutes=5),
                    labels=f"{LABEL_MANAGED_BY}={MANAGED_BY}",
                ):
                    if event.type in {"ADDED", "MODIFIED"}:
                        await self._attend(event.manifest)

    async def _attend(self, pod: Manifest) -> None:
        meta = pod["metadata"]
        broken = meta["labels"].get(LABEL_ROUTE) in self.broken
        crashing = meta["labels"].get(LABEL_ROUTE) in self.crashing
        ready = any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in pod.get("status", {}).get("conditions", [])
        )
        if meta.get("deletionTimestamp") or broken or ready:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if crashing:
            crash = {"name": "envoy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, **CONTAINER}
            with suppress(NotFound):
                await self._kube.apply_status(
                    POD, meta["namespace"], meta["name"], {"containerStatuses": [crash]}
                )
            return
        status = {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        }
        with suppress(NotFound):
            await self._kube.apply_status(POD, meta["namespace"], meta["name"], status)


class Bench:
    """An operator in this process and what tests do to the cluster around it."""

    def __init__(self, bed: ApiBed, kube: KubeCluster, settings: Settings, namespace: str) -> None:
        self.bed = bed
        self.kube = kube
        self.settings = settings
        self.namespace = namespace
        self.evidence: Any = StandInEvidence()
        self.outside = StandInOutside()
        self.issuers: Any = None
        """Instead of the real ones, which call no address of this machine."""
        self.load: Any = None
        """Instead of workers' own metrics."""
        watched = settings.namespaces[0] if settings.namespaces else None
        self.kubelet = StandInKubelet(kube, watched)
        self._operator: asyncio.Task[int] | None = None
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.kubelet.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_operator()
        await self.kubelet.__aexit__(kind, error, trace)

    async def start_operator(self) -> None:
        self._stop = asyncio.Event()
        self._operator = asyncio.create_task(
            operator_process.run(
                self.settings,
                evidence=self.evidence,
                ports=self.outside.ports,
                stop=self._stop,
                issuers=self.issuers,
                load=self.load,
            )
        )

    async def stop_operator(self) -> None:
        if self._operator is None:
            return
        self._stop.set()
        operator, self._operator = self._operator, None
        assert await operator == 0, "the operator did not end in order"

    def operator_runs(self) -> bool:
        return self._operator is not None and not self._operator.done()

    async def apply(self, *manifests: Manifest) -> None:
        for manifest in manifests:
            await self.kube.apply(manifest, manager="test")

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest | None:
        try:
            return await self.kube.get(kind, namespace or self.namespace, name)
        except NotFound:
            return None

    async def delete(self, kind: Kind, name: str) -> None:
        await self.kube.delete(kind, self.namespace, name)

    async def route_condition(self, name: str, type_: str, namespace: str | None = None) -> Manifest | None:
        return condition(await self.get(MOLTBOT_ROUTE, name, namespace), type_)

    async def wait_route(self, name: str, type_: str, status: str, **expected: Any) -> Manifest:
        """See `wait_condition`."""
        return await self.wait_condition(MOLTBOT_ROUTE, name, type_, status, **expected)

    async def wait_backend(self, name: str, type_: str, status: str, **expected: Any) -> Manifest:
        """See `wait_condition`."""
        return await self.wait_condition(MODEL_BACKEND, name, type_, status, **expected)

    async def settled(self, name: str, seconds: float = 30) -> Manifest:
        """The route once it serves its present generation and nothing is under way."""

        async def probe() -> Manifest | None:
            found = await self.get(MOLTBOT_ROUTE, name)
            fresh = (
                found and found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
            )
            done = fresh and not condition(found, "Reconciling")
            programmed = condition(found, "Programmed") or {}
            return found if done and programmed.get("status") == "True" else None

        return await eventually(f"route {name} settled", probe, seconds)

    async def wait_condition(
        self,
        kind: Kind,
        name: str,
        type_: str,
        status: str,
        *,
        reason: str = "",
        says: str = "",
        seconds: float = 30,
        every: float = 0.1,
    ) -> Manifest:
        """The condition once it has that status, that reason (if given), and a message with `says` in it."""

        async def probe() -> Manifest | None:
            found = condition(await self.get(kind, name), type_)
            latest[0] = found
            if found and found["status"] == status and reason in {"", found["reason"]}:
                return found if says in found["message"] else None
            return None

        latest: list[Manifest | None] = [None]
        try:
            return await eventually(f"{kind} {name}: {type_}={status} {reason} {says}", probe, seconds, every)
        except AssertionError as error:
            raise AssertionError(f"{error}; was {latest[0]}") from None

    def operator_writes(self) -> Iterator[Manifest]:
        """Every write of the operator so far (audit events), the Lease's left out."""
        for event in self.bed.audit_events():
            if event["user"]["username"] != OPERATOR_USER or event.get("stage") != "ResponseComplete":
                continue
            if event["verb"] in {"get", "list", "watch"}:
                continue
            if event.get("objectRef", {}).get("resource") == "leases":
                continue
            yield event


def condition(manifest: Manifest | None, type_: str) -> Manifest | None:
    """A condition of a resource."""
    conditions = ((manifest or {}).get("status") or {}).get("conditions") or []
    return next((found for found in conditions if found["type"] == type_), None)


def backend(namespace: str, name: str, **spec: Any) -> Manifest:
    """A ModelBackend that needs nothing else to exist."""
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "ModelBackend",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": "Custom", "endpoint": {"url": "http://model.example:9"}, "model": name, **spec},
    }


def rule(name: str, *backends: str, **more: Any) -> Manifest:
    return {"name": name, "candidates": [{"backend": backend} for backend in backends], **more}


def anyone(*backends: str) -> list[Manifest]:
    """Open access."""
    return [{"name": "anyone", "auth": {"anonymous": {}}, "backends": list(backends)}]


def route(namespace: str, name: str, rules: list[Manifest], **spec: Any) -> Manifest:
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "MoltBotRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rules": rules, "gateway": {"replicas": 1}, **spec},
    }


def secret(namespace: str, name: str, **values: str) -> Manifest:
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {"name": name, "namespace": namespace},
        "stringData": values,
    }


def api_key(secret_name: str, key: str = "token") -> Manifest:
    """`spec.auth` of a backend."""
    return {"type": "APIKey", "apiKey": {"secretRef": {"name": secret_name, "key": key}}}
