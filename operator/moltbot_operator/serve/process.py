"""The process of `moltbot serve`: signals, words, and how it ends."""

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moltbot_operator.serve.front import chosen, fronting
from moltbot_operator.serve.launch import complaints
from moltbot_operator.serve.notify import notify
from moltbot_operator.serve.options import Options
from moltbot_operator.serve.server import Server, serving
from moltbot_operator.serve.words import Words

__all__ = ["run"]


def run(files: Sequence[Path], *, view: bool | None = None, json: bool | None = None, **options: Any) -> int:
    """Serve until SIGINT or SIGTERM; 0 then, 1 if Envoy ends by itself.

    `options` are the fields of Options. `view` None: where standard output and error are a terminal; `json`
    None: where standard error is none. InvalidInput and EnvoyRejected where serving can't begin.
    """
    attended = sys.stderr.isatty() and sys.stdout.isatty()
    asked = Options(files=tuple(files), view=attended if view is None else view, **options)
    words = Words(json=not sys.stderr.isatty() if json is None else json)
    return asyncio.run(_run(asked, words))


async def _run(options: Options, words: Words) -> int:
    stop, hurry = asyncio.Event(), threading.Event()

    def told() -> None:
        if stop.is_set():
            hurry.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    with chosen(options.metrics_port) as listener:
        return await _serve(options, listener, words, stop, hurry)


async def _serve(
    options: Options, listener: socket.socket, words: Words, stop: asyncio.Event, hurry: threading.Event
) -> int:
    """Serve until `stop`; metrics on `listener`."""
    loop = asyncio.get_running_loop()
    port = listener.getsockname()[1]
    async with serving(replace(options, metrics_port=port), words, hurry) as server:
        loop.add_signal_handler(signal.SIGHUP, server.reload)
        words.say(f"base_url {server.url}/v1", base_url=f"{server.url}/v1")
        async with fronting(server, listener), _task(server.keep()), _viewed(server, words):
            where = f"http://127.0.0.1:{port}/metrics"
            words.say(f"metrics  {where}", metrics=where)
            notify(f"READY=1\nSTATUS={server.url}, revision {server.active.identity.revision}")
            return await _until_end(server, words, stop)
    raise AssertionError  # nothing above swallows errors


async def _until_end(server: Server, words: Words, stop: asyncio.Event) -> int:
    stopped = asyncio.create_task(stop.wait())
    try:
        while True:
            gateway = server.active.gateway
            await asyncio.wait({stopped, gateway.ended}, return_when=asyncio.FIRST_COMPLETED, timeout=1)
            if stop.is_set():
                notify("STOPPING=1")
                return 0
            if gateway.ended.done() and gateway is server.active.gateway:
                words.say(f"{gateway.ended.result()}:\n{complaints(gateway.folder)}", level="error")
                return 1
    finally:
        stopped.cancel()


@contextlib.asynccontextmanager
async def _viewed(server: Server, words: Words) -> AsyncIterator[None]:
    if not server.options.view:
        yield
        return
    from moltbot_operator.serve.view import watch  # noqa: PLC0415 - where nobody looks it is not needed

    async with _task(watch(server, words)):
        yield


@contextlib.asynccontextmanager
async def _task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run beside the block, and end with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
