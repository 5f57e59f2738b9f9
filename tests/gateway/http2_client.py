"""HTTP/2 written by hand, frame by frame: what a client library would hide of how a connection ends.

Source: RFC 9113 (frames), RFC 7541 §6.2.2 (a header that is not indexed).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["DATA", "GOAWAY", "Connection", "connected"]

DATA: Final = 0
HEADERS: Final = 1
SETTINGS: Final = 4
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
END_STREAM: Final = 1
END_HEADERS: Final = 4


class Connection:
    """One connection without TLS; streams have odd numbers, in the order of their requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    def post(self, stream: int, path: str, body: Any) -> None:
        """Send a request."""
        content = json.dumps(body).encode()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": self._host,
            "content-type": "application/json",
            "content-length": str(len(content)),
        }
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
        self._send(HEADERS, END_HEADERS, stream, block)
        self._send(DATA, END_STREAM, stream, content)

    async def until_end(self, stream: int) -> tuple[bytes, list[int]]:
        """The body of the stream's answer, and the types of all frames up to its end."""
        body, kinds = b"", list[int]()
        while True:
            kind, flags, of, payload = await self.frame()
            kinds.append(kind)
            if of == stream:
                body += payload if kind == DATA else b""
                if kind in {DATA, HEADERS} and flags & END_STREAM:
                    return body, kinds

    async def frame(self) -> tuple[int, int, int, bytes]:
        """Type, flags, stream and payload of the next one; IncompleteReadError where the connection ends."""
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3]))
        if head[3] == SETTINGS and not head[4]:
            self._send(SETTINGS, 1, 0, b"")
        return head[3], head[4], int.from_bytes(head[5:]), payload

    async def ended(self) -> None:
        """Returns once the server has ended the connection."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await self.frame()

    def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._writer.write(len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection to a server that speaks HTTP/2 without being asked."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        connection = Connection(reader, writer, where.netloc)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        connection._send(SETTINGS, 0, 0, b"")
        yield connection
    finally:
        writer.close()


def _text(text: str) -> bytes:
    """Without Huffman's code; all are shorter than 127 bytes."""
    return bytes([len(text)]) + text.encode()
