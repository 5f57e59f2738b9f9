"""The client of the e2e tests: runs in a pod, since only there Service names and addresses lead anywhere.

Argument: one JSON job; prints one JSON result. Jobs:

load    POST `count` requests (or for `duration` seconds), `concurrency` at a time, to `url`; counts outcomes;
        with `rate` at most so many a second
stream  one streamed request; when each chunk arrived, in seconds
raw     the bytes `head` + `body` over a socket to `host`:`port`; the answer as text
http    one request `method` `url` with `json`
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
    answers, errors, latencies = collections.Counter(), [], []
    remaining = iter(range(job["count"])) if "count" in job else None
    end = time.monotonic() + job.get("duration", 3600)
    timeout = aiohttp.ClientTimeout(total=job.get("timeout", 30))
    connector = aiohttp.TCPConnector(limit=0, force_close=job.get("close", False))

    places = itertools.count()
    began = time.monotonic()

    async def worker(session):
        while time.monotonic() < end and (remaining is None or next(remaining, None) is not None):
            if "rate" in job:
                await asyncio.sleep(max(0.0, began + next(places) / job["rate"] - time.monotonic()))
            started = time.monotonic()
            try:
                async with session.post(job["url"], json=job.get("body", BODY)) as answer:
                    body = await answer.read()
                    provider = answer.headers.get("x-provider", "")
                    answers[f"{answer.status} {provider}"] += 1
                    if answer.status != 200 and len(errors) < 5:
                        errors.append(f"{answer.status}: {body[:300]!r}")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                answers[f"{type(error).__name__} "] += 1
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


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(
        json.dumps(
            asyncio.run({"load": load, "stream": stream, "raw": raw, "http": http}[given["do"]](given))
        )
    )
