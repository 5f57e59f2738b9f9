"""A collector of OpenTelemetry logs over HTTP, as far as tests need one.

::

    async with Collector() as collector:
        ...            # a gateway with audit.otlp.url: collector.url
        collector.records

Messages (https://github.com/open-telemetry/opentelemetry-proto, logs/v1/logs.proto) are decoded here.
"""

import asyncio
from collections.abc import Iterator
from typing import Self

__all__ = ["Collector", "decoded"]

Records = list[tuple[dict[str, str], dict[str, str]]]


class Collector:
    """Answers with `status`, or never while `silent`."""

    def __init__(self, *, status: int = 200, silent: bool = False) -> None:
        self.status = status
        self.silent = silent
        self.bodies: list[bytes] = []
        self.heads: list[str] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every connection and takes no more."""
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/logs"

    @property
    def records(self) -> Records:
        """Attributes of the resource and of the record, of each record that came."""
        return [each for body in self.bodies for each in decoded(body)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                body = await _chunked(reader)
                self.heads.append(head)
                self.bodies.append(body)
                if self.silent:
                    await reader.read()
                    return
                writer.write(f"HTTP/1.1 {self.status} X\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._open.discard(writer)
            writer.close()


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    """A body as Envoy sends it (RFC 9112 §7.1)."""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


def decoded(body: bytes) -> Records:
    """An ExportLogsServiceRequest."""
    return [
        (_attributes(resource, 1), _attributes(record, 6))
        for of_resource in _all(body, 1)
        for resource in _all(of_resource, 1)
        for of_scope in _all(of_resource, 2)
        for record in _all(of_scope, 2)
    ]


def _attributes(message: bytes, number: int) -> dict[str, str]:
    """Each KeyValue with a text in it; another kind of value is a ValueError."""
    found = {}
    for pair in _all(message, number):
        (key,), (value,) = _all(pair, 1), _all(pair, 2)
        (text,) = _all(value, 1)
        found[key.decode()] = text.decode()
    return found


def _all(message: bytes, number: int) -> list[bytes]:
    return [value for field, value in _fields(message) if field == number]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field (https://protobuf.dev/programming-guides/encoding/)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                start = at
                _, at = _varint(message, at)
            case 1:
                start, at = at, at + 8
            case 2:
                size, start = _varint(message, at)
                at = start + size
            case 5:
                start, at = at, at + 4
            case kind:
                raise ValueError(f"wire type {kind}")
        if at > len(message):
            raise ValueError("cut off")
        yield tag >> 3, message[start:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
