"""Jobs while workers are killed and Redis is restarted: none lost, every webhook told, none shown to others.

MOLTBOT_JOBS=10000 MOLTBOT_KILL_S=5 is the long form.
"""

import asyncio
import collections
import contextlib
import json
import os
import random
import sys
from pathlib import Path

import aiohttp
from aiohttp import web
from listener_bed import KEY, Listener, config, until
from moltbot_provider import Provider
from redis_bed import RedisBed

JOBS = int(os.environ.get("MOLTBOT_JOBS", "120"))
KILL_S = float(os.environ.get("MOLTBOT_KILL_S", "1"))
WORKERS = 3
DRAW = random.Random(7)  # noqa: S311 - which worker dies is no secret
PROCESS = Path(__file__).with_name("worker_process.py")


class Workers:
    """Processes that are killed at random and started again."""

    def __init__(self, path):
        self.path = path
        self.running = {}
        self.killed = 0

    async def start(self):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROCESS), str(self.path), stdout=asyncio.subprocess.PIPE
        )
        port = int(await process.stdout.readline())
        self.running[port] = process

    async def kill_one(self):
        port = DRAW.choice(list(self.running))
        process = self.running.pop(port)
        process.kill()
        await process.wait()
        self.killed += 1
        await self.start()

    async def stop(self):
        for process in self.running.values():
            process.kill()
            await process.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{DRAW.choice(list(self.running))}"


def consumer_of(number):
    return ("web", "other")[number % 2]


def headers(consumer, **more):
    own = {"x-mb-worker-key": KEY, "x-mb-rule": "chat", "x-mb-consumer": consumer}
    return {**own, "content-type": "application/json", **more}


async def submit(session, workers, number, hook):
    """As a client would: again with the same key until a job is taken."""
    body = json.dumps({"model": "m", "messages": [], "max_tokens": 2 + number % 400})
    more = {"idempotency-key": f"k{number}", "x-moltbot-webhook": hook}
    while True:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            url = workers.url + "/v1/chat/completions"
            async with session.post(url, data=body, headers=headers(consumer_of(number), **more)) as response:
                if response.status == 202:
                    return (await response.json())["id"]
        await asyncio.sleep(0.1)


async def look(session, workers, identity, consumer):
    while True:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with session.get(
                f"{workers.url}/v1/jobs/{identity}", headers=headers(consumer)
            ) as response:
                if response.status != 503:
                    return response.status, await response.json()
        await asyncio.sleep(0.1)


async def trouble(workers, redis, over):
    """Kills a worker each KILL_S, and Redis twice on the way."""
    for turn in range(1_000_000):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                await over.wait()
                return
        await workers.kill_one()
        if turn in {1, 3}:
            redis.kill()
            await asyncio.sleep(0.3)
            await asyncio.to_thread(redis.start)


@contextlib.asynccontextmanager
async def hooks(told):
    async def handle(request):
        told[(await request.json())["data"]["id"]] += 1
        return web.Response(status=204)

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/done", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/done"
    await runner.cleanup()


async def test_no_job_is_lost_while_workers_die_and_redis_restarts(tmp_path):
    redis = RedisBed(tmp_path).start()
    (tmp_path / "hook").write_text("secret")
    told = collections.Counter()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(redis.kill)
        provider = await stack.enter_async_context(Provider(name="one", delay=0.05))
        listener = await Listener({"one": provider}, {"chat/0": ["one"]}).start()
        stack.push_async_callback(listener.stop)
        settings = config(
            tmp_path,
            listener.url,
            {"async": {}},
            ("one",),
            store={"type": "Redis", "url": redis.url, "password": str(redis.password_file)},
            jobs={"lease": 2, "max_attempts": 100, "concurrency": 8, "webhook_key": str(tmp_path / "hook")},
        )
        path = tmp_path / "worker.json"
        path.write_text(settings.model_dump_json(by_alias=True))
        workers = Workers(path)
        stack.push_async_callback(workers.stop)
        await asyncio.gather(*(workers.start() for _ in range(WORKERS)))
        timeout = aiohttp.ClientTimeout(total=20)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        hook = await stack.enter_async_context(hooks(told))
        over = asyncio.Event()
        troubles = asyncio.create_task(trouble(workers, redis, over))
        free = asyncio.Semaphore(20)

        async def one(number):
            async with free:
                return await submit(session, workers, number, hook)

        identities = await asyncio.gather(*(one(number) for number in range(JOBS)))
        assert len(set(identities)) == JOBS
        limit = 90 + JOBS / 20

        async def ended(number, identity):
            async def done():
                status, job = await look(session, workers, identity, consumer_of(number))
                assert status == 200, f"job {number} is lost"
                return job if job["status"] not in {"queued", "running"} else None

            async with free:
                return await until(done, f"the end of job {number}", limit)

        jobs = await asyncio.gather(*(ended(*each) for each in enumerate(identities)))
        await until(lambda: workers.killed >= 4 and not troubles.done(), "enough trouble", 60)
        over.set()
        await troubles
        for number, (identity, job) in enumerate(zip(identities, jobs, strict=True)):
            assert job["status"] == "succeeded"
            assert job["response"]["body"]["usage"]["completion_tokens"] == 2 + number % 400
            status, _ = await look(session, workers, identity, consumer_of(number + 1))
            assert status == 404
        await until(lambda: set(told) == set(identities), "every webhook", 60)
        assert workers.killed >= 4
