import asyncio
import json
import os
import signal
import sys

import aiohttp
import pytest
from free_ports import free_ports
from listener_bed import KEY, chat, config, serving, until

BIG = 16 * 2**20


@pytest.fixture
async def bed(tmp_path):
    (tmp_path / "token").write_text("evidence")
    async with serving(tmp_path) as made:
        yield made


async def test_a_request_without_a_feature_goes_through_as_it_came(bed):
    body = b'{ "model":"gpt", "messages": [], "seed": 12345678901234567890123 }'
    status, headers, answer = await bed.ask(body, x_client="7", x_mb_route="chat/0")
    assert status == 200
    assert headers["x-moltbot-backend"] == "one"
    assert b"server=one" in answer
    told, sent = bed.listener.seen[0]
    assert sent == body
    assert told["x-mb-rule"] == "chat"
    assert told["x-mb-consumer"] == "web"
    assert told["x-mb-route"] == "chat/0"
    assert told["x-client"] == "7"


async def test_answers_carry_no_header_of_the_gateways_own(bed):
    _, headers, _ = await bed.ask(chat())
    assert not [name for name in headers if name.lower().startswith("x-mb-")]


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x"])
async def test_without_the_secret_nothing_is_served(bed, key):
    headers = {"x-mb-rule": "chat", "x-mb-consumer": "web"} | (
        {} if key is None else {"x-mb-worker-key": key}
    )
    async with bed.session.post(bed.url + "/v1/chat/completions", data=b"{}", headers=headers) as response:
        assert response.status == 403
        assert response.headers["x-mb-fault"] == "worker"  # a gateway whose secret is older serves by itself
    assert bed.calls() == 0


async def test_an_unknown_rule_is_marked_for_the_gateway(bed):
    status, headers, _ = await bed.ask(chat(), rule="gone")
    assert (status, headers["x-mb-fault"]) == (503, "worker")


async def test_a_listener_that_is_away_is_marked_for_the_gateway(bed):
    await bed.listener.stop()
    status, headers, body = await bed.ask(chat())
    assert (status, headers["x-mb-fault"]) == (503, "worker")
    assert json.loads(body)["error"]["code"] == "worker_unavailable"


async def test_a_providers_error_is_passed_on_and_not_marked(bed):
    for provider in bed.providers.values():
        await provider.fault("status", status=500)
    status, headers, _ = await bed.ask(chat())
    assert status == 500
    assert "x-mb-fault" not in headers


async def test_bodies_up_to_the_limit_are_taken_and_longer_ones_refused(bed):
    long = json.dumps(chat("x" * (BIG - 500))).encode()
    status, _, _ = await bed.ask(long)
    assert status == 200
    status, headers, body = await bed.ask(long + b" " * 600)
    assert status == 413
    assert "x-mb-fault" not in headers
    assert json.loads(body)["error"]["code"] == "too_large"


async def test_a_body_in_chunks_is_bounded_too(bed):
    async def parts():
        for _ in range(18):
            yield b" " * 2**20

    async with bed.session.post(
        bed.url + "/v1/chat/completions", data=parts(), headers=bed.headers()
    ) as response:
        assert response.status == 413


async def test_a_stream_comes_as_it_is_made(bed):
    await bed.providers["one"].fault("stream_stall", after=3)
    async with bed.post(chat(stream=True)) as response:
        got = b""
        while got.count(b"\n\n") < 3:
            got += await response.content.readany()
        assert b"[DONE]" not in got


async def test_a_client_that_leaves_ends_the_call(bed):
    await bed.providers["one"].fault("stream_stall", after=1)
    async with bed.post(chat(stream=True)) as response:
        await response.content.readany()
    await until(lambda: bed.providers["one"].requests[0].outcome == "client left", "the end of the call")
    await until(lambda: bed.worker.app.in_flight == 0, "the end of the request")
    assert await bed.metric('moltbot_worker_requests_total{code="left",rule="chat"}') == 1


async def test_a_client_that_leaves_before_the_head_ends_the_call(bed):
    await bed.providers["one"].fault("hang")
    task = asyncio.create_task(bed.ask(chat()))
    await until(lambda: bed.providers["one"].requests.in_flight == 1, "the call")
    task.cancel()
    await until(lambda: bed.providers["one"].requests.in_flight == 0, "the end of the call")


async def test_a_stream_that_is_cut_never_ends_cleanly(bed):
    await bed.providers["one"].fault("stream_cut", after=2)
    with pytest.raises(aiohttp.ClientPayloadError):
        await bed.ask(chat(stream=True))
    await bed.providers["one"].clear()
    assert (await bed.ask(chat()))[0] == 200
    assert await bed.metric('moltbot_worker_requests_total{code="broken",rule="chat"}') == 1


async def test_an_answer_that_breaks_before_its_first_byte_is_an_error(bed):
    await bed.providers["one"].fault("reset_after_headers")
    status, headers, _ = await bed.ask(chat(stream=True))
    assert status == 502
    assert "x-mb-fault" not in headers


async def test_more_than_it_takes_is_left_to_the_gateway(tmp_path):
    async with serving(tmp_path, limits={"in_flight": 2}) as bed:
        await bed.providers["one"].fault("hang")
        held = [asyncio.create_task(bed.ask(chat())) for _ in range(2)]
        await until(lambda: bed.worker.app.in_flight == 2, "two requests")
        status, headers, _ = await bed.ask(chat())
        assert (status, headers["x-mb-fault"]) == (503, "worker")
        assert await bed.metric('moltbot_worker_rejected_total{why="busy"}') == 1
        for task in held:
            task.cancel()


async def test_silence_past_the_rules_limit_is_a_504(tmp_path):
    async with serving(tmp_path, {"first_byte": 0.2}) as bed:
        await bed.providers["one"].fault("hang")
        status, headers, _ = await bed.ask(chat())
        assert status == 504
        assert "x-mb-fault" not in headers


async def test_a_listener_that_has_another_secret_is_as_good_as_away(bed):
    bed.listener.key = "another"
    status, headers, _ = await bed.ask(chat())
    assert (status, headers["x-mb-fault"]) == (503, "worker")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_backends_own_refusal_is_an_answer(bed, status):
    for provider in bed.providers.values():
        await provider.fault("status", status=status)
    answered, headers, _ = await bed.ask(chat())
    assert answered == status
    assert "x-mb-fault" not in headers


async def test_a_new_secret_is_taken_up(bed, tmp_path):
    (tmp_path / "key").write_text("second")
    bed.listener.key = "second"

    async def taken():
        headers = {**bed.headers(), "x-mb-worker-key": "second"}
        async with bed.session.post(
            bed.url + "/v1/chat/completions", data=b"{}", headers=headers
        ) as response:
            return response.status == 200

    await until(taken, "the new secret")


async def test_metrics_health_and_evidence_are_served_beside(bed):
    await bed.ask(chat())
    assert await bed.metric('moltbot_worker_requests_total{code="2xx",rule="chat"}') == 1
    assert await bed.metric("moltbot_worker_in_flight") == 0
    base = f"http://127.0.0.1:{bed.worker.metrics_port}"
    for path in ("/healthz", "/readyz"):
        async with bed.session.get(base + path) as response:
            assert response.status == 200
    url = f"http://127.0.0.1:{bed.worker.evidence_port}/evidence"
    async with bed.session.get(url) as response:
        assert response.status == 401
    async with bed.session.get(url, headers={"authorization": "Bearer evidence"}) as response:
        told = await response.json()
    assert told["revision"] == "r1"
    assert told["ready"]
    assert told["problems"] == []


async def test_a_process_drains_at_sigterm(tmp_path):
    """Not ready at once, requests in flight go to their end, and the exit is clean."""
    async with serving(tmp_path) as bed:
        settings = config(tmp_path, bed.listener.url, limits={"drain": 20})
        ports = dict(zip(("port", "metrics_port", "evidence_port"), free_ports(3), strict=True))
        path = tmp_path / "worker.json"
        path.write_text(settings.model_copy(update=ports).model_dump_json(by_alias=True))
        command = [sys.executable, "-m", "moltbot_worker", "--config", str(path), "--settle-s", "0.2"]
        process = await asyncio.create_subprocess_exec(*command, env=os.environ)
        try:
            base = f"http://127.0.0.1:{ports['metrics_port']}"
            await until(lambda: status_of(bed, base + "/readyz", 200), "ready")
            await bed.providers["one"].fault("delay", seconds=2)
            url = f"http://127.0.0.1:{ports['port']}/v1/chat/completions"
            asked = asyncio.create_task(answered(bed, url))
            await until(lambda: bed.providers["one"].requests.in_flight == 1, "the request")
            process.send_signal(signal.SIGTERM)
            await until(lambda: status_of(bed, base + "/readyz", 503), "not ready")
            assert await asked == 200
            async with asyncio.timeout(20):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()


async def test_a_wrong_configuration_ends_the_process_with_its_place(tmp_path):
    path = tmp_path / "worker.json"
    path.write_text('{"namespace": 7}')
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moltbot_worker", "--config", str(path), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"worker.json is no worker's configuration" in said


async def status_of(bed, url, wanted):
    try:
        async with bed.session.get(url) as response:
            return response.status == wanted
    except aiohttp.ClientError:
        return False


async def answered(bed, url):
    async with bed.session.post(url, data=json.dumps(chat()), headers=bed.headers()) as response:
        await response.read()
        return response.status
