"""What becomes of `moltbot serve` where somebody else wants, or has, one of its inner ports."""

import asyncio
import contextlib
import socket
import sys
import threading

import httpx
import pytest
import yaml
from gateway_bed import BODY, CHAT, backend, route, rule
from moltbot_provider import Provider

from moltbot_operator.errors import PortTaken
from moltbot_operator.serve import revision
from moltbot_operator.serve.options import Options
from moltbot_operator.serve.ports import LOOPBACK
from moltbot_operator.serve.server import serving
from moltbot_operator.serve.words import Words

WORKED = {"cache": {"ttl": "10m"}}


@pytest.fixture
def between(monkeypatch):
    """Put a function between the finding of ports and the start of whoever is to listen there."""

    def put(act):
        real = revision.files_in

        def files_in(folder, address, ports, access_log):
            act(ports)
            return real(folder, address, ports, access_log)

        monkeypatch.setattr(revision, "files_in", files_in)

    return put


@pytest.fixture
def thief(between):
    """Listens on the port of one name, of the first revision or of each; gives how often it did."""
    with contextlib.ExitStack() as stack:

        def steal(name, *, always):
            taken = []

            def act(ports):
                if always or not taken:
                    taken.append(stack.enter_context(socket.create_server((LOOPBACK, getattr(ports, name)))))

            between(act)
            return taken

        yield steal


async def answered(folder, *, said=None, rules=(), reload=False):
    """The status of a request to a server that is started, and reloaded, with these rules."""
    async with Provider(name="a") as a:
        objects = [route(rule("all", ["a"], **dict(rules))), *backend("a", a.url)]
        file = folder / "in.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        options = Options(
            files=(file,), port=0, state=folder / "state", access_log=folder / "log", concurrency=1
        )
        words = Words(json=False)
        if said is not None:
            words.say = lambda text, **_: said.append(text)
        async with serving(options, words, threading.Event()) as server:
            if reload:
                objects[0] = route(rule("other", ["a"], **dict(rules)))
                file.write_text(yaml.safe_dump_all(objects))
                assert await server.take_over(), server.failure
            async with httpx.AsyncClient(base_url=server.url) as client:
                return (await client.post(CHAT, json=BODY)).status_code


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port can't be held for another process")
async def test_no_port_is_lost_between_finding_and_listening(tmp_path, between):
    got = []

    def take_all(ports):
        for port in vars(ports).values():
            other = socket.socket()
            with contextlib.suppress(OSError):
                other.bind((LOOPBACK, port))
                got.append(other)  # kept, so that it would be in the way

    between(take_all)
    status = await answered(tmp_path, rules=WORKED, reload=True)
    for each in got:
        each.close()
    assert got == []
    assert status == 200


@pytest.mark.parametrize("name", ["public", "ready", "admin", "metrics", "evidence", "drain", "probe"])
async def test_a_start_that_finds_a_port_taken_tells_it_and_takes_others(tmp_path, thief, name):
    said = []
    taken = thief(name, always=False)
    async with asyncio.timeout(50):  # the limit of a start that nobody answers is 60 s
        assert await answered(tmp_path, said=said) == 200
    assert len(taken) == 1
    (told,) = [text for text in said if "started again with other inner ports" in text]
    assert "address already in use" in told.casefold()


async def test_a_start_that_never_finds_its_ports_free_ends(tmp_path, thief):
    taken = thief("evidence", always=True)
    async with asyncio.timeout(50):
        with pytest.raises(PortTaken, match="address already in use"):
            await answered(tmp_path)
    assert len(taken) == 4
