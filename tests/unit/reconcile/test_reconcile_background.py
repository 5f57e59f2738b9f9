"""Questions beside the queue's workers: what begins, what ends, and who is woken."""

import asyncio
from collections.abc import Callable

from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.background import Background
from moltbot_operator.rollout import AskGate, Delivered, Effect, Result, Trouble

ROUTE, OTHER = Key("Route", "n", "assistant"), Key("Route", "n", "other")


def gate(name: str) -> AskGate:
    return AskGate(name, "b", 0, name)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 — an answer takes a few turns of the loop
            await asyncio.sleep(0)


class World:
    """Answers when told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, effect: Effect) -> Result:
        self.begun.append(effect.id)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(effect.id)
            raise
        return Delivered()


async def test_a_question_is_asked_once_and_its_answer_wakes_the_route() -> None:
    woken: list[Key] = []
    background, world = Background(woken.append), World()
    for _ in range(3):
        background.want(ROUTE, [gate("one")], world)
        await asyncio.sleep(0)
    assert (world.begun, background.results(ROUTE), woken) == (["one"], {}, [])
    world.gate.set()
    await until(lambda: bool(woken))
    assert background.results(ROUTE) == {"one": Delivered()}
    assert background.results(OTHER) == {}
    background.want(ROUTE, [gate("one")], world)
    assert world.begun == ["one"], "an answer that nobody took up stays"
    background.want(ROUTE, [], world)
    assert background.results(ROUTE) == {}


async def test_what_nobody_wants_any_more_is_cancelled() -> None:
    background, world = Background(), World()
    background.want(ROUTE, [gate("one"), gate("two")], world)
    background.want(OTHER, [gate("three")], world)
    await asyncio.sleep(0)
    background.want(ROUTE, [gate("two")], world)
    await until(lambda: world.cancelled == ["one"])
    background.forget(ROUTE)
    await background.close()
    assert sorted(world.cancelled) == ["one", "three", "two"]


async def test_a_defect_is_no_verdict_and_harms_nobody_else() -> None:
    async def crash(effect: Effect) -> Result:
        raise KeyError(effect.id)

    woken: list[Key] = []
    background = Background(woken.append)
    background.want(ROUTE, [gate("one")], crash)
    await until(lambda: bool(woken))
    (result,) = background.results(ROUTE).values()
    assert isinstance(result, Trouble)
    assert "KeyError" in result.message
    await background.close()


async def test_an_end_waits_for_questions_that_clean_up() -> None:
    cleaned: list[str] = []

    async def slow(effect: Effect) -> Result:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(effect.id)
        return Delivered()

    background = Background()
    background.want(ROUTE, [gate("one")], slow)
    await asyncio.sleep(0)
    await background.close()
    assert cleaned == ["one"]
