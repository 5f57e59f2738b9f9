"""The metadata watcher and the comparison, against a stand-in that plays lists and streams."""

# ruff: noqa: ARG002 - stand-ins have the signatures of what they stand for

import asyncio
from datetime import timedelta

import pytest

from moltbot_operator.errors import ClusterError, Gone
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.client import Page, WatchEvent
from moltbot_operator.kube.feed import Feed
from moltbot_operator.kube.kinds import SECRET
from moltbot_operator.kube.queue import Backoff, Key, Queue
from moltbot_operator.kube.resync import Scope, heal, resync_forever
from moltbot_operator.kube.watch import MetadataWatcher

SCOPE = Scope(SECRET, metadata_only=True)


def secret(name, version):
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": f"u-{name}", "resourceVersion": str(version)},
    }


class Play:
    """`lists`: what each listing returns, or raises; `streams`: what each watch yields, or raises."""

    def __init__(self, lists, streams=()):
        self.lists, self.streams = list(lists), list(streams)
        self.since, self.list_times, self.watch_times = [], [], []

    async def pages(self, kind, namespace=None, *, labels="", metadata_only=False):
        assert metadata_only
        self.list_times.append(asyncio.get_running_loop().time())
        step = self.lists.pop(0)
        if isinstance(step, Exception):
            raise step
        version, *chunks = step
        for chunk in chunks:
            await asyncio.sleep(0.1)
            yield Page(chunk, str(version))

    async def watch(self, kind, namespace=None, *, since, **_):
        self.since.append(since)
        self.watch_times.append(asyncio.get_running_loop().time())
        if not self.streams:
            await asyncio.Event().wait()
        for step in self.streams.pop(0):
            if isinstance(step, Exception):
                raise step
            if isinstance(step, int | float):
                await asyncio.sleep(step)
            else:
                yield WatchEvent(*step)


def bench():
    queue = Queue()
    feed = Feed(Cache(), queue, lambda _, __, found: [Key("Route", "ns", found["metadata"]["name"])])
    return feed, queue


def held(feed):
    return sorted(
        (each["metadata"]["name"], int(each["metadata"]["resourceVersion"]))
        for each in feed.cache.list(SECRET)
    )


async def play(cluster, feed, seconds):
    watcher = MetadataWatcher(cluster, feed, SCOPE, Backoff(timedelta(seconds=1), jitter=0))
    task = asyncio.create_task(watcher.run())
    await asyncio.sleep(seconds)
    assert not task.done(), task.exception()
    task.cancel()
    return watcher


def test_lists_then_follows_changes(in_virtual_time):
    async def scenario():
        feed, queue = bench()
        events = [("ADDED", secret("c", 12)), ("MODIFIED", secret("a", 13)), ("DELETED", secret("b", 14))]
        cluster = Play([(10, [secret("a", 1)], [secret("b", 2)])], [events])
        watcher = await play(cluster, feed, 5)
        assert watcher.listed.is_set()
        assert held(feed) == [("a", 13), ("c", 12)]
        assert queue.depth == 3
        assert cluster.since == ["10", "14"], "the next stream begins where this one ended"

    in_virtual_time(scenario())


def test_bookmarks_move_the_position_and_change_nothing(in_virtual_time):
    async def scenario():
        feed, queue = bench()
        cluster = Play([(10, [])], [[("BOOKMARK", {"metadata": {"resourceVersion": "99"}})]])
        await play(cluster, feed, 5)
        assert cluster.since == ["10", "99"]
        assert (held(feed), queue.depth) == ([], 0)

    in_virtual_time(scenario())


def test_a_position_too_old_means_a_new_list_that_finds_what_was_deleted(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        cluster = Play([(10, [secret("a", 1), secret("b", 2)]), (50, [secret("a", 40)])], [[Gone("too old")]])
        await play(cluster, feed, 5)
        assert held(feed) == [("a", 40)]
        assert cluster.since == ["10", "50"]

    in_virtual_time(scenario())


def test_failures_are_tried_again_from_the_same_position_after_growing_pauses(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        down = [ClusterError("down")]
        cluster = Play(
            [ClusterError("down"), (10, [])], [down, down, [("ADDED", secret("a", 11)), *down], []]
        )
        await play(cluster, feed, 60)
        assert cluster.since[:4] == ["10", "10", "10", "11"]
        pauses = [round(b - a) for a, b in zip(cluster.watch_times, cluster.watch_times[1:], strict=False)]
        assert pauses[:3] == [2, 4, 1], "an event in between ends the row of failures"
        assert held(feed) == [("a", 11)]

    in_virtual_time(scenario())


def test_a_role_that_forbids_the_first_listing_is_told_at_once(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        watcher = MetadataWatcher(Play([ClusterError("no", 403)]), feed, SCOPE)
        with pytest.raises(ClusterError):
            await watcher.run()

    in_virtual_time(scenario())


def test_rights_that_are_lost_later_are_waited_for(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        cluster = Play([(10, [])], [[ClusterError("no", 403)], [("ADDED", secret("a", 11))]])
        await play(cluster, feed, 60)
        assert held(feed) == [("a", 11)]

    in_virtual_time(scenario())


def test_streams_that_end_at_once_do_not_make_a_hot_loop(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        cluster = Play([(10, [])], [[] for _ in range(1000)])
        await play(cluster, feed, 300)
        assert len(cluster.since) < 20

    in_virtual_time(scenario())


def test_a_stream_that_lived_and_ended_is_followed_without_a_pause(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        cluster = Play([(10, [])], [[300], [300]])
        await play(cluster, feed, 700)
        assert [round(b - a) for a, b in zip(cluster.watch_times, cluster.watch_times[1:], strict=False)] == [
            300,
            300,
        ]

    in_virtual_time(scenario())


def test_healing_takes_out_what_is_gone_and_takes_in_what_was_missed(in_virtual_time):
    async def scenario():
        feed, queue = bench()
        for each in (secret("stays", 1), secret("gone", 2), secret("changed", 3)):
            feed.changed(SECRET, each, metadata_only=True)
        while queue.depth:
            queue.done(await queue.get())
        cluster = Play([(9, [secret("stays", 1), secret("changed", 5)], [secret("new", 6)])])
        assert await heal(cluster, feed, SCOPE) == "9"
        assert held(feed) == [("changed", 5), ("new", 6), ("stays", 1)]
        assert queue.depth == 3, "what agrees queues nothing"

    in_virtual_time(scenario())


def test_what_happens_while_the_list_is_read_is_not_undone(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        feed.changed(SECRET, secret("deleted", 1), metadata_only=True)
        feed.changed(SECRET, secret("late", 2), metadata_only=True)
        cluster = Play([(9, [secret("deleted", 1)], [])])
        healing = asyncio.create_task(heal(cluster, feed, SCOPE))
        await asyncio.sleep(0.05)
        feed.deleted(SECRET, secret("deleted", 10), metadata_only=True)
        feed.changed(SECRET, secret("late", 11), metadata_only=True)
        feed.changed(SECRET, secret("new", 12), metadata_only=True)
        await healing
        assert held(feed) == [("late", 11), ("new", 12)]

    in_virtual_time(scenario())


def test_resync_comes_round_survives_errors_and_can_be_asked_for(in_virtual_time):
    async def scenario():
        feed, _ = bench()
        asked = asyncio.Queue()
        down = ClusterError("down")
        cluster = Play([down, (9, [secret("a", 1)]), down, (10, [secret("b", 2)])])
        began = asyncio.get_running_loop().time()
        task = asyncio.create_task(resync_forever(cluster, feed, [SCOPE], timedelta(seconds=100), asked))
        await asyncio.sleep(225)
        assert held(feed) == [("a", 1)]
        first, second = (moment - began for moment in cluster.list_times)
        assert 90 <= first <= 110
        assert 90 <= second - first <= 110.2
        asked.put_nowait(SCOPE)
        await asyncio.sleep(5)
        assert held(feed) == [("b", 2)], "asked for, failed once, tried again soon"
        task.cancel()

    in_virtual_time(scenario())
