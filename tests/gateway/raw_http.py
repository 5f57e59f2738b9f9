"""HTTP/1.1 written by hand: for requests that no client library would send."""

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

__all__ = ["RawAnswer", "raw"]


@dataclass(frozen=True)
class RawAnswer:
    """The first answer on the connection; status 0 where the connection ended without one."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool
    """Whether the gateway closed the connection after it."""

    def json(self) -> Any:
        return json.loads(self.body)


async def raw(url: str, request: bytes, seconds: float = 15) -> RawAnswer:
    """Send bytes to the gateway at `url` and read the first answer; TimeoutError if there is none in time."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(request)
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                return await _answer(reader)
        return RawAnswer(0, {}, b"", closed=True)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> RawAnswer:
    head = [""]
    while not re.match(r"HTTP/\S+ [2-9]|HTTP/\S+ 101", head[0]):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    closed = headers.get("connection") == "close" or reader.at_eof()
    return RawAnswer(int(head[0].split()[1]), headers, body, closed)
