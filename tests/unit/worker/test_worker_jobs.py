"""Jobs over both stores: a worker in this process, on real ports, with a webhook server beside it."""

import base64
import contextlib
import hashlib
import hmac
import json

import pytest
from aiohttp import web
from listener_bed import chat, config, serving, until
from redis_bed import RedisBed

from moltbot_worker.jobs.running import pause
from moltbot_worker.jobs.webhooks import Webhooks, signature
from moltbot_worker.store import opened

JOBS = {"lease": 1.0, "max_attempts": 2}


class Hooks:
    """A consumer's webhook; `answers` are its next statuses, then 204."""

    def __init__(self):
        self.seen = []
        self.answers = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/done", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/done"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _handle(self, request):
        self.seen.append((dict(request.headers), await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    made = RedisBed(tmp_path_factory.mktemp("redis")).start()
    yield made
    made.kill()


@contextlib.asynccontextmanager
async def jobs_bed(folder, store=None, jobs=None, rule=None):
    (folder / "hook-key").write_text("hook-secret")
    settings = {**JOBS, "webhook_key": str(folder / "hook-key"), **(jobs or {})}
    more = {"store": store} if store else {}
    async with serving(
        folder,
        {"async": {"queue": "default"}, **(rule or {})},
        jobs=settings,
        limits={"drain": 0.5},
        allow_local=True,
        **more,
    ) as bed:
        yield bed


def redis_settings(redis, folder):
    return {
        "type": "Redis",
        "url": redis.url,
        "password": str(redis.password_file),
        "prefix": folder.name,
    }


@pytest.fixture(params=["embedded", "redis"])
async def bed(request, tmp_path):
    store = None
    if request.param == "redis":
        store = redis_settings(request.getfixturevalue("redis"), tmp_path)
    async with jobs_bed(tmp_path, store) as made:
        yield made


async def submitted(bed, document=None, **more):
    status, headers, body = await bed.ask(document or chat(), **more)
    assert status == 202, body
    job = json.loads(body)
    assert headers["x-moltbot-job"] == job["id"]
    return job


async def fetched(bed, identity, consumer="web", method="GET"):
    url = f"{bed.url}/v1/jobs/{identity}"
    async with bed.session.request(method, url, headers=bed.headers(consumer)) as response:
        return response.status, await response.json()


async def ended(bed, identity, consumer="web"):
    async def done():
        status, job = await fetched(bed, identity, consumer)
        assert status == 200
        return job if job["status"] not in {"queued", "running"} else None

    return await until(done, "the end of the job", 40)


async def test_a_job_is_taken_and_its_answer_fetched(bed):
    job = await submitted(bed)
    assert job["status"] == "queued"
    done = await ended(bed, job["id"])
    assert done["status"] == "succeeded"
    assert done["response"]["status_code"] == 200
    assert done["response"]["body"]["choices"][0]["message"]["content"].startswith("server=one")
    assert done["tries"] == 1
    headers, _ = bed.listener.seen[0]
    assert headers["idempotency-key"] == job["id"]
    assert headers["x-mb-consumer"] == "web"


async def test_a_job_is_only_its_consumers(bed):
    job = await submitted(bed)
    await ended(bed, job["id"])
    assert (await fetched(bed, job["id"], "other"))[0] == 404
    assert (await fetched(bed, job["id"], ""))[0] == 404
    assert (await fetched(bed, job["id"], "other", "DELETE"))[0] == 404
    assert (await fetched(bed, job["id"]))[0] == 200
    assert (await fetched(bed, "job_" + "0" * 32))[0] == 404


async def test_a_job_can_be_deleted_while_it_runs_and_after(bed):
    await bed.providers["one"].fault("hang")
    job = await submitted(bed)
    await until(lambda: bed.providers["one"].requests.in_flight == 1, "the call")
    assert (await fetched(bed, job["id"], method="DELETE"))[1]["deleted"]
    assert (await fetched(bed, job["id"]))[0] == 404
    await until(lambda: bed.providers["one"].requests.in_flight == 0, "the end of the call")
    await bed.providers["one"].clear()
    second = await submitted(bed)
    await ended(bed, second["id"])
    assert (await fetched(bed, second["id"], method="DELETE"))[0] == 200
    assert (await fetched(bed, second["id"], method="DELETE"))[0] == 404


async def test_the_same_idempotency_key_is_the_same_job(bed):
    first = await submitted(bed, idempotency_key="k")
    again = await submitted(bed, idempotency_key="k")
    other = await submitted(bed, idempotency_key="k", consumer="other")
    assert again["id"] == first["id"]
    assert other["id"] != first["id"]
    await ended(bed, first["id"])
    await ended(bed, other["id"], "other")
    assert bed.calls() == 2


async def test_an_error_of_the_request_ends_a_job_and_one_of_the_server_is_tried_again(bed):
    for provider in bed.providers.values():
        await provider.fault("context_length", count=1)
    job = await submitted(bed)
    done = await ended(bed, job["id"])
    assert (done["status"], done["response"]["status_code"], done["tries"]) == ("failed", 400, 1)
    for provider in bed.providers.values():
        await provider.fault("status", status=500, count=1)
    job = await submitted(bed)
    done = await ended(bed, job["id"])
    assert (done["status"], done["tries"]) == ("succeeded", 2)


async def test_tries_have_an_end(bed):
    for provider in bed.providers.values():
        await provider.fault("status", status=500)
    job = await submitted(bed)
    done = await ended(bed, job["id"])
    assert (done["status"], done["response"]["status_code"], done["tries"]) == ("failed", 500, 2)


async def test_a_webhook_is_told_with_a_signature_that_its_consumer_can_check(bed):
    async with Hooks() as hooks:
        hooks.answers = [500]
        job = await submitted(bed, x_moltbot_webhook=hooks.url)
        await until(lambda: len(hooks.seen) == 2, "a second call of the webhook")
        headers, body = hooks.seen[-1]
        told = json.loads(body)
        assert told["type"] == "job.ended"
        assert told["data"]["id"] == job["id"]
        assert told["data"]["response"]["body"]["object"] == "chat.completion"
        key = base64.b64decode(job["webhook"]["secret"].removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{wanted}"
        other = await submitted(bed, x_moltbot_webhook=hooks.url)
        assert other["webhook"]["secret"] != job["webhook"]["secret"]


async def test_an_answer_now_can_be_asked_for(bed):
    status, headers, _ = await bed.ask(chat(stream=True), x_moltbot_async="false")
    assert status == 200
    assert "x-moltbot-job" not in headers


@pytest.mark.parametrize(
    ("document", "headers", "told"),
    [
        (chat(stream=True), {}, "A job has no stream"),
        (chat(), {"x-moltbot-async": "maybe"}, "must be true or false"),
        (chat(), {"x-moltbot-webhook": "ftp://a"}, "must be an http"),
        (chat(), {"x-moltbot-webhook": "http://user:pass@host/"}, "must be an http"),
        (chat(), {"idempotency-key": "k" * 256}, "at most 255"),
    ],
)
async def test_what_can_not_be_a_job_is_refused(bed, document, headers, told):
    status, _, body = await bed.ask(document, **headers)
    assert status == 400
    assert told in json.loads(body)["error"]["message"]


async def test_a_full_queue_is_a_429(tmp_path):
    async with jobs_bed(tmp_path, jobs={"max_queued": 2}) as bed:
        await bed.providers["one"].fault("hang")
        for _ in range(2):
            await submitted(bed)
        status, headers, body = await bed.ask(chat())
        assert status == 429
        assert headers["retry-after"]
        assert json.loads(body)["error"]["code"] == "queue_full"
        assert await bed.metric('moltbot_worker_rejected_total{why="queue"}') == 1


async def test_depth_and_age_of_the_queue_are_metrics(tmp_path):
    async with jobs_bed(tmp_path) as bed:
        await bed.providers["one"].fault("hang")
        await submitted(bed)

        async def seen():
            depth = await bed.metric('moltbot_worker_queue_depth{queue="default"}')
            age = await bed.metric('moltbot_worker_queue_age_seconds{queue="default"}')
            return depth == 1 and age > 0

        await until(seen, "depth and age")


async def test_a_job_that_takes_its_workers_down_goes_to_the_dead_letters(redis, tmp_path):
    """Two begun tries without any end, as of workers that died."""
    settings = redis_settings(redis, tmp_path)
    async with jobs_bed(tmp_path, settings) as bed:
        await bed.providers["one"].fault("hang")
        job = await submitted(bed)
    store = opened(config(tmp_path, "http://127.0.0.1:1", {}, store=settings), lambda: None)
    for tries in (1, 2):
        found = []
        while not found:
            found = await store.take("default", f"dies-{tries}", 1, lease=0.5, wait=0.1)
        assert (await store.begin(found[0]))[0] == tries
    async with jobs_bed(tmp_path, settings) as bed:
        done = await ended(bed, job["id"])
        assert (done["status"], done["tries"]) == ("dead", 3)
        assert await store.dead(10) == [job["id"]]
        assert bed.calls() == 0
    await store.close()


async def test_a_worker_that_leaves_gives_its_jobs_to_another_at_once(redis, tmp_path, caplog):
    """And the try that it could not end does not count."""
    settings, jobs = redis_settings(redis, tmp_path), {"lease": 3600.0}
    async with jobs_bed(tmp_path, settings, jobs) as bed:
        await bed.providers["one"].fault("hang")
        job = await submitted(bed)
        await until(lambda: bed.calls() == 1, "the call")
    assert not [each for each in caplog.records if each.levelname == "ERROR"]
    async with jobs_bed(tmp_path, settings, jobs) as bed:
        done = await ended(bed, job["id"])
        assert (done["status"], done["tries"], bed.calls()) == ("succeeded", 1, 1)


async def test_a_webhook_that_was_not_told_is_given_on_too(redis, tmp_path):
    settings, jobs = redis_settings(redis, tmp_path), {"lease": 3600.0}
    async with Hooks() as hook:
        hook.answers = [503] * 50
        async with jobs_bed(tmp_path, settings, jobs) as bed:
            await submitted(bed, x_moltbot_webhook=hook.url)
            await until(lambda: hook.seen, "a first try")
        hook.answers = []
        tried = len(hook.seen)
        async with jobs_bed(tmp_path, settings, jobs):
            await until(lambda: len(hook.seen) > tried, "another try")


async def test_without_its_store_a_job_is_answered_at_once(tmp_path):
    redis = RedisBed(tmp_path).start()
    try:
        async with jobs_bed(tmp_path, redis_settings(redis, tmp_path)) as bed:
            job = await submitted(bed)
            await ended(bed, job["id"])
            redis.kill()
            status, headers, _ = await bed.ask(chat())
            assert status == 200
            assert "x-moltbot-job" not in headers
            assert (await fetched(bed, job["id"]))[0] == 503
            redis.start()

            async def back():
                return (await fetched(bed, job["id"]))[0] == 200

            await until(back, "the job again")

            async def queued():
                return (await bed.ask(chat()))[0] == 202

            await until(queued, "jobs again")
    finally:
        redis.kill()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.com/x", True),
        ("http://10.0.0.5:8080/x", True),
        ("http://127.0.0.1/x", False),
        ("http://[::1]/x", False),
        ("http://[::ffff:127.0.0.1]/x", False),
        ("http://169.254.169.254/latest", False),
        ("http://0.0.0.0/", False),
        ("http:///x", False),
        ("http://host:99999/", False),
    ],
)
def test_webhooks_go_nowhere_near_this_pod(tmp_path, url, allowed):
    (tmp_path / "k").write_text("s")
    settings = config(tmp_path, "http://g", {}, jobs={"webhook_key": str(tmp_path / "k")}).jobs
    assert (Webhooks(settings).refused(url) is None) == allowed


async def test_a_name_that_leads_to_this_pod_is_not_called(tmp_path):
    (tmp_path / "k").write_text("s")
    settings = config(tmp_path, "http://g", {}, jobs={"webhook_key": str(tmp_path / "k")}).jobs
    async with Hooks() as hooks:
        webhooks = Webhooks(settings)
        assert not await webhooks.tell(hooks.url.replace("127.0.0.1", "localhost"), "job_1", b"{}", 1)
        await webhooks.close()
        assert hooks.seen == []


def test_webhooks_can_be_kept_to_given_hosts(tmp_path):
    (tmp_path / "k").write_text("s")
    jobs = {"webhook_key": str(tmp_path / "k"), "webhook_hosts": ["*.example.com"]}
    webhooks = Webhooks(config(tmp_path, "http://g", {}, jobs=jobs).jobs)
    assert webhooks.refused("https://hooks.example.com/") is None
    assert "may not go to example.org" in webhooks.refused("https://example.org/")


def test_without_a_secret_there_are_no_webhooks(tmp_path):
    webhooks = Webhooks(config(tmp_path, "http://g", {}).jobs)
    assert "no secret" in webhooks.refused("https://example.com/")


def test_pauses_grow_up_to_a_minute():
    assert [pause(n) for n in (1, 2, 3, 7, 50)] == [1, 2, 4, 60, 60]


def test_a_signature_is_the_standards():
    """The example of the Standard Webhooks libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
