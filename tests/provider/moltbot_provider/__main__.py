"""``python -m moltbot_provider``: one simulated provider as a process; SIGTERM and SIGINT end it."""

import argparse
import asyncio
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from moltbot_provider.admin import admin_app
from moltbot_provider.server import Provider


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line, `--expect-header` as pairs."""
    parser = argparse.ArgumentParser(prog="moltbot_provider", description=__doc__)
    parser.add_argument("--name", default="provider", help="named in every answer (default: %(default)s)")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--admin-host", default="0.0.0.0")
    parser.add_argument("--admin-port", type=int, default=8001)
    parser.add_argument("--model", action="append", default=[], help="listed by /models (default: the name)")
    parser.add_argument(
        "--expect-header",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=VALUE",
        help="answer 401 without this header; the same name again adds a valid value",
    )
    parser.add_argument("--words", type=int, default=5, help="length of an answer (default: %(default)s)")
    parser.add_argument("--event-gap", type=float, default=0.0, help="seconds between streamed events")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--tls-cert", type=Path, help="PEM file; with --tls-key serves HTTPS")
    parser.add_argument("--tls-key", type=Path)
    return parser.parse_args(arguments)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=VALUE, e.g. authorization="Bearer x"')
    return name, value


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal; prints one line with the ports when ready."""
    expect: dict[str, list[str]] = {}
    for name, value in options.expect_header:
        expect.setdefault(name.lower(), []).append(value)
    context = None
    if options.tls_cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.tls_cert, options.tls_key)
    provider = Provider(
        options.name,
        host=options.host,
        port=options.port,
        models=options.model,
        expect=expect,
        words=options.words,
        event_gap=options.event_gap,
        delay=options.delay,
        ssl_context=context,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(admin_app(provider), access_log=None)
    await runner.setup()
    try:
        async with provider:
            await web.TCPSite(runner, options.admin_host, options.admin_port).start()
            admin_port = runner.addresses[0][1]
            print(f"provider {options.name}: port {provider.port}, admin port {admin_port}", flush=True)
            await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(parse()))
