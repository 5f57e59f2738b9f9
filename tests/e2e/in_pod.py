"""The client of the e2e tests: runs in a pod, since only there Service names and addresses lead anywhere.

Argument: one JSON job; prints one JSON result. Jobs:

load    POST `count` requests (or for `duration` seconds), `concurrency` at a time, to `url`; counts outcomes;
        with `rate` at most so many a second; with `until` = [outcome, seconds] so long after the first such
        outcome; `times`: when each came, in seconds, and its outcome; outcomes are told apart by the header
        `told` (`x-provider`)
stream  one streamed request; when each chunk arrived, in seconds
streams streamed requests for `duration` seconds, `concurrency` at a time; how many came whole, what cut some
raw     the bytes `head` + `body` over a socket to `host`:`port`; the answer as text
http    one request `method` `url` with `json`
matrix  for each of `cells`: faults by the models' `admins`, one request to `url`, what each model saw
"""

import asyncio
import base64
import collections
import itertools
import json
import sys
import time

import aiohttp

BODY = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


async def load(job):
    answers, errors, latencies, times = collections.Counter(), [], [], []
    remaining = iter(range(job["count"])) if "count" in job else None
    end = time.monotonic() + job.get("duration", 3600)
    timeout = aiohttp.ClientTimeout(total=job.get("timeout", 30))
    connector = aiohttp.TCPConnector(limit=0, force_close=job.get("close", False))

    places = itertools.count()
    began = time.monotonic()
    awaited, rest = job.get("until", (None, 0))

    def noted(outcome):
        nonlocal end
        if outcome == awaited and outcome not in answers:
            end = min(end, time.monotonic() + rest)
        answers[outcome] += 1
        times.append([round(time.monotonic() - began, 3), outcome])

    async def worker(session):
        while time.monotonic() < end and (remaining is None or next(remaining, None) is not None):
            if "rate" in job:
                await asyncio.sleep(max(0.0, began + next(places) / job["rate"] - time.monotonic()))
            started = time.monotonic()
            try:
                async with session.post(job["url"], json=job.get("body", BODY)) as answer:
                    body = await answer.read()
                    told = answer.headers.get(job.get("told", "x-provider"), "")
                    noted(f"{answer.status} {told}")
                    if answer.status != 200 and len(errors) < 5:
                        errors.append(f"{answer.status}: {body[:300]!r}")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                noted(f"{type(error).__name__} ")
                if len(errors) < 5:
                    errors.append(repr(error))
            latencies.append(time.monotonic() - started)

    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, headers=job.get("headers")
    ) as session:
        await asyncio.gather(*(worker(session) for _ in range(job.get("concurrency", 16))))
    latencies.sort()
    return {
        "answers": answers,
        "errors": errors,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
        "max": latencies[-1],
        **({"times": times} if "until" in job else {}),
    }


async def stream(job):
    arrivals, text = [], b""
    async with aiohttp.ClientSession() as session:
        started = time.monotonic()
        async with session.post(job["url"], json={**BODY, "stream": True, **job.get("body", {})}) as answer:
            async for chunk, _ in answer.content.iter_chunks():
                arrivals.append(time.monotonic() - started)
                text += chunk
    return {"status": answer.status, "arrivals": arrivals, "text": text.decode()}


async def streams(job):
    end, cut = time.monotonic() + job["duration"], []
    whole = 0
    timeout = aiohttp.ClientTimeout(total=120)

    async def worker(session):
        nonlocal whole
        while time.monotonic() < end:
            text = b""
            try:
                async with session.post(job["url"], json={**BODY, "stream": True, **job["body"]}) as answer:
                    async for chunk, _ in answer.content.iter_chunks():
                        text += chunk
                if answer.status == 200 and text.rstrip().endswith(b"data: [DONE]"):
                    whole += 1
                else:
                    cut.append(f"{answer.status}: {text[-200:]!r}")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                cut.append(f"{error!r} after {text[-200:]!r}")

    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(job["concurrency"])))
    return {"whole": whole, "cut": cut[:10]}


async def raw(job):
    body = base64.b64decode(job["body"])
    reader, writer = await asyncio.open_connection(job["host"], job["port"])
    writer.write(job["head"].encode("latin-1") + body)
    await writer.drain()
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    return {"head": head.decode()}


async def http(job):
    timeout = aiohttp.ClientTimeout(total=10)
    session = aiohttp.ClientSession(timeout=timeout)
    async with (
        session,
        session.request(
            job["method"], job["url"], json=job.get("json"), headers=job.get("headers")
        ) as answer,
    ):
        return {"status": answer.status, "headers": dict(answer.headers), "body": await answer.text()}


async def matrix(job):
    """One result a cell, in order: status, headers, text, whether the connection broke, requests by model."""
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        return {"results": [await _cell(session, job, cell) for cell in job["cells"]]}


async def _cell(session, job, cell):
    for name, url in job["admins"].items():
        fault = cell["faults"][name]
        async with session.put(f"{url}/faults", json=fault or []) as done:
            assert done.status == 200, await done.text()
        async with session.delete(f"{url}/requests"):
            pass
    body, text, cut = {**BODY, "stream": cell["stream"]}, b"", False
    async with session.post(job["url"], json=body, headers={"x-request-id": cell["id"]}) as answer:
        try:
            async for chunk, _ in answer.content.iter_chunks():
                text += chunk
        except aiohttp.ClientError:
            cut = True
    asked = {}
    for name, url in job["admins"].items():
        async with session.get(f"{url}/requests") as seen:
            asked[name] = (await seen.json())["total"]
        async with session.delete(f"{url}/faults"):
            pass
    told = {key.lower(): value for key, value in answer.headers.items()}
    return {"status": answer.status, "headers": told, "text": text.decode(), "cut": cut, "asked": asked}


JOBS = {"load": load, "stream": stream, "streams": streams, "raw": raw, "http": http, "matrix": matrix}

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(JOBS[given["do"]](given))))
