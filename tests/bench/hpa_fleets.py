"""The workers that each scaler has: pods of a real API server that only seem to run, and a list."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from moltbot_operator.autoscale import Samples, State, WorkerSample, decide
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.kinds import POD


class Pods:
    """All pods of the bed, as a watch tells; each runs `start[namespace]` seconds after it was seen."""

    def __init__(self, kube, start):
        self._kube, self._start = kube, start
        self._pods, self._tasks = {}, set()

    async def __aenter__(self):
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_):
        for task in (self._watching, *self._tasks):
            task.cancel()
        await asyncio.gather(self._watching, *self._tasks, return_exceptions=True)

    def running(self, namespace):
        return [
            name for (where, name), phase in self._pods.items() if where == namespace and phase == "Running"
        ]

    def check(self):
        """Raises what ended the watch or the start of a pod."""
        if self._watching.done():
            self._watching.result()

    async def _watch(self):
        while True:
            self._pods.clear()
            with suppress(ClusterError):  # a watch that ends is begun anew, with all that there is
                async for event in self._kube.watch(POD, None, since="0", lifetime=timedelta(minutes=5)):
                    self._take(event)

    def _take(self, event):
        meta = event.manifest["metadata"]
        if event.type == "BOOKMARK":
            return
        key = meta["namespace"], meta["name"]
        if event.type == "DELETED" or meta.get("deletionTimestamp"):
            self._pods.pop(key, None)
            return
        if key not in self._pods:
            task = asyncio.create_task(self._run(*key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._pods[key] = event.manifest["status"].get("phase", "Pending")

    async def _run(self, namespace, name):
        await asyncio.sleep(self._start.get(namespace, 0))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        with suppress(NotFound):
            await self._kube.apply_status(POD, namespace, name, {"phase": "Running", "conditions": [ready]})


class Workers:
    """The workers that our scaler decides about."""

    def __init__(self, shape):
        self._shape, self._state, self._made = shape, State(), shape.workers
        self._workers = [(f"w{number:05}", -shape.start) for number in range(shape.workers)]

    def look(self, at, now):
        """How many there are after a look at second `at`."""
        shape = self._shape
        running = [name for name, born in self._workers if at - born >= shape.start]
        values, totals, errors = {}, {}, {}
        for metric in shape.scaling.metrics:
            total = shape.total(metric.name, at)
            if total is None:
                errors[metric.name] = "it cannot be had"
            elif metric.type == "QueueDepth":
                totals[metric.name] = round(total, 3)
            else:
                for name, value in shape.told(metric.name, at, running).items():
                    values.setdefault(name, {})[metric.name] = value
        samples = tuple(
            WorkerSample(name, name in running, values.get(name, {})) for name, _ in self._workers
        )
        found = Samples(len(self._workers), samples, totals, errors)
        decision = decide(shape.scaling, self._state, found, now)
        self._state = decision.state
        self._become(decision.replicas, at)
        return decision

    def _become(self, count, at):
        """New ones are last; those that have not started go before any that has, as with a ReplicaSet."""
        while len(self._workers) < count:
            self._workers.append((f"w{self._made:05}", at))
            self._made += 1
        del self._workers[count:]
