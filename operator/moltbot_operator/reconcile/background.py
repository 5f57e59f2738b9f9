"""Questions to the world outside, each a task of its own, so that no queue worker ever waits for an answer.

A route's reconciliation says which questions should be under way; those that are not begin, those that nobody
wants any more are cancelled, and an answer queues the route again. Nothing here is durable: after a crash the
same questions are asked under the same ids.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.outside import Performance
from moltbot_operator.rollout import Effect, Result, Trouble

__all__ = ["Background"]


class Background:
    """The tasks of all routes; belongs to one event loop."""

    def __init__(self, wake: Callable[[Key], None] = lambda _: None) -> None:
        """`wake` is told of a route with a new answer."""
        self._wake = wake
        self._tasks: dict[Key, dict[str, asyncio.Task[Result]]] = {}
        self._ending: set[asyncio.Task[Result]] = set()

    def results(self, route: Key) -> Mapping[str, Result]:
        """Answers that came and were not yet dropped, by the effect's id."""
        done = {id_: task for id_, task in self._tasks.get(route, {}).items() if task.done()}
        return {id_: _result(task) for id_, task in done.items() if not task.cancelled()}

    def running(self, route: Key) -> bool:
        """Whether an answer is still to come."""
        return any(not task.done() for task in self._tasks.get(route, {}).values())

    def want(self, route: Key, effects: Iterable[Effect], perform: Performance) -> None:
        """From now on these questions are under way, and no others of the route."""
        before = self._tasks.pop(route, {})
        tasks: dict[str, asyncio.Task[Result]] = {}
        for effect in effects:
            known = effect.id in before
            tasks[effect.id] = before.pop(effect.id) if known else self._begin(route, effect, perform)
        for task in before.values():
            self._end(task)
        if tasks:
            self._tasks[route] = tasks

    def forget(self, route: Key) -> None:
        """The route is gone."""
        for task in self._tasks.pop(route, {}).values():
            self._end(task)

    async def close(self) -> None:
        """Cancel everything and wait for its end."""
        for route in list(self._tasks):
            self.forget(route)
        while self._ending:
            await asyncio.wait(self._ending)

    def _end(self, task: asyncio.Task[Result]) -> None:
        if not task.done():
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _begin(self, route: Key, effect: Effect, perform: Performance) -> asyncio.Task[Result]:
        task: asyncio.Task[Result] = asyncio.ensure_future(perform(effect))
        task.add_done_callback(lambda done: self._done(route, effect, done))
        return task

    def _done(self, route: Key, effect: Effect, task: asyncio.Task[Result]) -> None:
        if task.cancelled():
            return
        if error := task.exception():
            structlog.get_logger(__name__).error(
                "a rollout's question crashed", effect=effect.id, exc_info=error
            )
        self._wake(route)


def _result(task: asyncio.Task[Result]) -> Result:
    error = task.exception()
    if error is None:
        return task.result()
    return Trouble(f"a defect of the operator ({type(error).__name__}): please report it")
