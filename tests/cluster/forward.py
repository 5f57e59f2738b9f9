"""Carries TCP connections from the host's loopback into the bed.

The listening sockets were opened outside and are inherited; this program runs inside the bed's
network namespace, and so connects there. Arguments: FD=HOST:PORT…
"""

import asyncio
import contextlib
import socket
import sys

CONNECT_SECONDS = 5


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    opened = [writer]
    # A connection that either side resets or that finds nobody is simply closed, as a router would.
    with contextlib.suppress(OSError, TimeoutError):
        there, inner = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_SECONDS)
        opened.append(inner)
        await asyncio.gather(_pump(reader, inner), _pump(there, writer))
    for each in opened:
        each.close()


async def _serve(target: str) -> None:
    fd, address = target.split("=")
    host, port = address.rsplit(":", 1)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _carry(reader, writer, host, int(port))

    server = await asyncio.start_server(carry, sock=socket.socket(fileno=int(fd)))
    await server.serve_forever()


async def forward(targets: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for target in targets:
            group.create_task(_serve(target))


if __name__ == "__main__":
    asyncio.run(forward(sys.argv[1:]))
