"""One contract, two stores: in the process, and a real redis-server that dies in the middle."""

import asyncio
import contextlib
import uuid

import pytest
from redis_bed import RedisBed

from moltbot_worker.errors import StoreAway, StoreFull
from moltbot_worker.store import Backlog, Delivery
from moltbot_worker.store.embedded import EmbeddedStore
from moltbot_worker.store.redis import RedisStore

MOST = {"most": 100, "once_ttl": 60.0}
END = {"ttl": 60.0, "then": None}


def redis_store(bed, base="moltbot:{team/assistant}"):
    return RedisStore(bed.url, base, timeout=2.0, password=bed.password_file.read_text().strip)


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    made = RedisBed(tmp_path_factory.mktemp("redis")).start()
    yield made
    made.kill()


@pytest.fixture(params=["embedded", "redis"])
async def store(request):
    if request.param == "embedded":
        yield EmbeddedStore(100_000)
        return
    made = redis_store(request.getfixturevalue("bed"), f"moltbot:{{{uuid.uuid4()}}}")
    yield made
    await made.close()


async def submitted(store, *jobs, queue="default", once=None):
    for job in jobs:
        await store.submit(queue, job, {"body": job.encode()}, once=once, **MOST)


async def taken(store, worker="w1", count=10, queue="default", lease=60.0):
    """What can be had now; the first look may make the queue."""
    for _ in range(2):
        found = await store.take(queue, worker, count, lease=lease, wait=0.05)
        if found:
            return found
    return []


async def test_a_cached_value_is_given_back_until_its_end(store):
    assert await store.get("a") is None
    await store.put("a", b"\x00value", 60)
    await store.put("brief", b"x", 0.05)
    assert await store.get("a") == b"\x00value"
    await store.put("a", b"other", 60)
    assert await store.get("a") == b"other"
    for _ in range(100):
        if await store.get("brief") is None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a value outlived its end")


async def test_a_lock_has_one_holder_until_it_is_released_or_ends(store):
    assert await store.claim("warm", "w1", 60)
    assert not await store.claim("warm", "w2", 60)
    assert await store.claim("warm", "w1", 60)
    await store.release("warm", "w2")
    assert not await store.claim("warm", "w2", 60)
    await store.release("warm", "w1")
    assert await store.claim("warm", "w2", 0.05)
    for _ in range(100):
        if await store.claim("warm", "w3", 60):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a lock outlived its end")


async def test_a_job_goes_from_waiting_to_ended(store):
    await submitted(store, "j1")
    assert (await store.job("j1"))["state"] == b"queued"
    (delivery,) = await taken(store)
    assert delivery.job == "j1"
    tries, fields = await store.begin(delivery)
    assert (tries, fields["body"], fields["state"]) == (1, b"j1", b"running")
    assert await store.finish(delivery, {"result": b"r"}, **END)
    assert (await store.job("j1"))["result"] == b"r"
    assert (await store.job("j1"))["state"] == b"ended"
    assert (await store.backlog("default")).depth == 0
    assert await taken(store, lease=0.01) == []


async def test_jobs_are_given_out_in_their_order_and_each_to_one_worker(store):
    names = [f"j{n}" for n in range(20)]
    await submitted(store, *names)
    got = [await taken(store, f"w{n}", 4) for n in range(5)]
    assert [each.job for some in got for each in some] == names


async def test_a_job_is_submitted_once_under_one_name(store):
    first = await store.submit("default", "j1", {"n": b"1"}, once="web:k", **MOST)
    second = await store.submit("default", "j2", {"n": b"2"}, once="web:k", **MOST)
    assert (first.job, first.new) == ("j1", True)
    assert (second.job, second.new) == ("j1", False)
    assert await store.job("j2") is None
    assert (await store.backlog("default")).depth == 1


async def test_a_full_queue_takes_no_more(store):
    for number in range(3):
        assert await store.submit("q", f"j{number}", {}, once=None, most=3, once_ttl=1)
    assert await store.submit("q", "j3", {}, once="o", most=3, once_ttl=1) is None
    assert await store.job("j3") is None


async def test_a_job_whose_worker_is_gone_goes_to_another_one(store):
    await submitted(store, "j1")
    (first,) = await taken(store, "dead")
    await store.begin(first)
    for _ in range(100):
        found = await store.take("default", "alive", 1, lease=0.3, wait=0.05)
        if found:
            break
    tries, _ = await store.begin(found[0])
    assert tries == 2
    assert await store.finish(found[0], {"by": b"alive"}, **END)
    assert not await store.finish(first, {"by": b"dead"}, **END)
    assert (await store.job("j1"))["by"] == b"alive"


async def test_a_job_that_is_renewed_stays_with_its_worker(store):
    await submitted(store, "j1")
    (delivery,) = await taken(store, "busy")
    for _ in range(8):
        await asyncio.sleep(0.1)
        await store.renew("busy", [delivery])
        assert await store.take("default", "other", 1, lease=5.0, wait=0.01) == []
    await store.renew("other", [delivery])  # whoever does not hold it changes nothing
    assert (await store.begin(delivery))[0] == 1


async def test_what_a_worker_gives_back_goes_to_another_one_at_once(store):
    await submitted(store, "j1", "j2", "j3")
    (first,) = await taken(store, "leaves", 1)
    (second,) = await taken(store, "stays", 1)
    (third,) = await taken(store, "leaves", 1)
    for delivery in (first, second):
        assert (await store.begin(delivery))[0] == 1
    await store.finish(third, {}, **END)
    await store.give_back("default", "leaves")
    await store.give_back("default", "nobody")
    await store.give_back("none", "leaves")
    assert [each.job for each in await taken(store, "stays", lease=3600.0)] == ["j1"]
    assert (await store.job("j1"))["state"] == b"queued"
    assert (await store.begin(first))[0] == 1
    assert (await store.job("j2"))["tries"] == b"1"
    assert (await store.job("j3"))["state"] == b"ended"
    await store.give_back("default", "leaves")  # which holds nothing any more
    assert await taken(store, "stays", lease=3600.0) == []


async def test_a_removed_job_is_never_begun_nor_ended(store):
    await submitted(store, "waits", "runs")
    waiting, running = await taken(store)
    await store.begin(running)
    assert await store.remove("waits")
    assert await store.remove("runs")
    assert not await store.remove("runs")
    assert await store.begin(waiting) is None
    assert not await store.finish(running, {"r": b""}, **END)
    assert await store.job("runs") is None
    assert not await store.note("runs", {"a": b"1"})
    assert (await store.backlog("default")).depth == 0


async def test_an_end_can_lead_to_another_queue_and_be_noted(store):
    await submitted(store, "j1")
    (delivery,) = await taken(store)
    await store.begin(delivery)
    await store.finish(delivery, {}, ttl=60, then="hooks")
    (hook,) = await taken(store, queue="hooks")
    assert hook.job == "j1"
    assert await store.note("j1", {"told": b"1"})
    await store.forget(hook)
    assert (await store.job("j1"))["told"] == b"1"
    assert await store.backlog("hooks") == Backlog(0, 0.0)


async def test_dead_jobs_are_listed_last_first(store):
    await submitted(store, "j1", "j2")
    for delivery in await taken(store):
        await store.begin(delivery)
        await store.finish(delivery, {}, dead=True, **END)
    assert await store.dead(10) == ["j2", "j1"]


async def test_an_ended_job_expires(store):
    await submitted(store, "j1")
    (delivery,) = await taken(store)
    await store.begin(delivery)
    await store.finish(delivery, {}, ttl=0.05, then=None)
    for _ in range(100):
        if await store.job("j1") is None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("an ended job outlived its end")


async def test_the_backlog_has_depth_and_age(store):
    assert await store.backlog("default") == Backlog(0, 0.0)
    await submitted(store, "j1", "j2")
    for _ in range(100):
        found = await store.backlog("default")
        assert found.depth == 2
        if found.oldest_s > 0.1:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the oldest job does not age")


async def test_a_wait_ends_when_a_job_comes(store):
    await store.take("default", "w1", 1, lease=60, wait=0.01)  # makes the queue
    waiting = asyncio.create_task(store.take("default", "w1", 1, lease=60, wait=30))
    await asyncio.sleep(0.05)
    await submitted(store, "j1")
    async with asyncio.timeout(20):
        assert [each.job for each in await waiting] == ["j1"]


async def test_the_embedded_cache_keeps_to_its_bytes_and_drops_the_least_recently_used():
    store = EmbeddedStore(10_000)
    for number in range(5):
        await store.put(f"k{number}", bytes(1700), 60)
    await store.get("k0")
    await store.put("k5", bytes(1700), 60)
    assert store.bytes_used <= 10_000
    assert await store.get("k0") is not None
    assert await store.get("k1") is None
    await store.put("long", bytes(20_000), 60)
    assert await store.get("long") is None


async def test_jobs_outlive_a_killed_redis(bed):
    store = redis_store(bed, "moltbot:{team/killed}")
    await submitted(store, "waits", "runs")
    (delivery,) = await taken(store, count=1)
    await store.begin(delivery)
    bed.kill()
    with pytest.raises(StoreAway):
        await store.get("a")
    assert not store.up
    with pytest.raises(StoreAway):  # at once, without asking
        await store.job("waits")
    bed.start()
    for _ in range(200):
        with contextlib.suppress(StoreAway):
            assert await store.finish(delivery, {"result": b"r"}, **END)
            break
        await asyncio.sleep(0.05)
    assert store.up
    assert [each.job for each in await taken(store)] == ["runs"] or (await store.job("waits"))[
        "result"
    ] == b"r"
    assert (await store.backlog("default")).depth == 1
    await store.close()


async def test_a_redis_that_lost_everything_gets_its_queues_again(bed):
    store = redis_store(bed)
    await submitted(store, "j1")
    client = bed.client()
    client.flushall()
    client.close()
    assert await taken(store) == []
    await submitted(store, "j2")
    assert [each.job for each in await taken(store)] == ["j2"]
    await store.close()


async def test_a_redis_without_memory_says_so_and_stays_up(bed):
    store = redis_store(bed)
    client = bed.client()
    client.config_set("maxmemory", "1")
    with pytest.raises(StoreFull):
        await store.put("a", b"x" * 1000, 60)
    client.config_set("maxmemory", "0")
    client.close()
    await store.put("a", b"x", 60)
    assert await store.get("a") == b"x"
    await store.close()


async def test_a_wrong_password_makes_the_store_count_as_away(bed):
    store = RedisStore(bed.url, "moltbot:{a/b}", timeout=2.0, password=lambda: "wrong")
    with pytest.raises(StoreAway) as away:
        await store.get("a")
    assert "wrong" not in str(away.value)
    await store.close()


async def test_routes_share_a_server_without_seeing_each_other(bed):
    one, other = redis_store(bed), redis_store(bed, "moltbot:{team/other}")
    await one.put("a", b"1", 60)
    await submitted(one, "j1")
    assert await other.get("a") is None
    assert await other.job("j1") is None
    assert await taken(other) == []
    for each in (one, other):
        await each.close()


def test_a_delivery_is_a_value():
    assert Delivery("q", "1-0", "j") == Delivery("q", "1-0", "j")
