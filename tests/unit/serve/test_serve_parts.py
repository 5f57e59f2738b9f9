"""The smaller parts of a server: what changed, what to do, where connections go, what is shown."""

import contextlib
import io
import os
import socket
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from free_ports import free_port
from rich.console import Console

from moltbot_operator.compile import BackendRef, CompiledRoute
from moltbot_operator.errors import InvalidInput
from moltbot_operator.rotation.state import Phase, State
from moltbot_operator.serve.decision import Change, Identity, decide
from moltbot_operator.serve.notify import notify
from moltbot_operator.serve.ports import LOOPBACK, bound, bound_or_free, held_port, held_ports
from moltbot_operator.serve.rotation.backends import BackendCredential
from moltbot_operator.serve.rotation.task import Rotation
from moltbot_operator.serve.steer import listening, steer
from moltbot_operator.serve.view import figures, screen, worker_line
from moltbot_operator.serve.watch import expand, signature
from moltbot_operator.serve.worker import pause_after


def test_a_folder_stands_for_its_manifests_in_order(tmp_path):
    for name in ("b.yaml", "a.json", "c.yml", "notes.md", ".hidden.yaml"):
        (tmp_path / name).write_text("")
    (tmp_path / "sub.yaml").mkdir()
    assert [file.name for file in expand([tmp_path])] == ["a.json", "b.yaml", "c.yml"]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=str(tmp_path)):
        expand([tmp_path])


def test_a_signature_changes_with_content_files_and_replacement(tmp_path):
    file = tmp_path / "a.yaml"
    seen = {signature([tmp_path])}
    for act in (
        lambda: file.write_text("1"),
        lambda: file.write_text("12"),
        lambda: os.utime(file, ns=(1, 1)),
        lambda: ((tmp_path / "n").write_text("12"), (tmp_path / "n").rename(file)),
        lambda: (tmp_path / "b.yaml").write_text(""),
    ):
        act()
        assert signature([tmp_path]) == signature([tmp_path])
        assert signature([tmp_path]) not in seen
        seen.add(signature([tmp_path]))
    assert signature([tmp_path / "absent"]) == ()


@pytest.mark.parametrize(
    ("wanted", "change"),
    [
        (Identity("default/a", "1"), Change.VALUES),
        (Identity("default/a", "2"), Change.REVISION),
        (Identity("default/b", "1"), Change.REVISION),
    ],
)
def test_only_what_a_revision_is_made_of_asks_for_a_new_one(wanted, change):
    assert decide(Identity("default/a", "1"), wanted) is change


def test_a_taken_port_is_named_with_the_option_that_chooses_another():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"127.0.0.1:{port} can't be listened on.*--metrics-port"):
            bound(LOOPBACK, port, "--metrics-port")
        with bound_or_free(LOOPBACK, port) as another:
            assert another.getsockname()[1] != port
        with pytest.raises(InvalidInput, match="--port"), held_ports(LOOPBACK, port):
            pass


def test_new_connections_go_to_the_sockets_that_came_last():
    """Two sockets of one process stand for two Envoys; 40 connections would hardly all take the same one."""
    old, new = (socket.create_server(("127.0.0.1", 0), reuse_port=True), None)
    port = old.getsockname()[1]
    assert listening(os.getpid(), port) == 1
    new = socket.create_server(("127.0.0.1", port), reuse_port=True)
    assert listening(os.getpid(), port) == 2
    assert steer(os.getpid(), port, 1)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    old.setblocking(False)
    with pytest.raises(BlockingIOError):
        old.accept()
    old.close()
    clients += [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    new.settimeout(10)
    accepted = [new.accept()[0] for _ in clients]
    third = socket.create_server(("127.0.0.1", port), reuse_port=True)
    for each in (*clients, *accepted, new, third):
        each.close()


def test_a_process_that_does_not_listen_can_not_be_steered_to():
    assert not steer(os.getpid(), free_port(), 0)


SCRAPE = """\
# TYPE moltbot_requests_total counter
moltbot_requests_total{code="2xx",route="default/r"} 40.0
moltbot_requests_total{code="5xx",route="default/r"} 2.0
moltbot_requests_in_flight{route="default/r"} 3.0
moltbot_attempts_total{backend="default/a",code="2xx",route="default/r"} 40.0
moltbot_attempts_total{backend="default/a",code="none",route="default/r"} 5.0
moltbot_model_load_latency_seconds_sum{backend="default/a",route="default/r"} 4.0
moltbot_model_load_latency_seconds_count{backend="default/a",route="default/r"} 40.0
moltbot_backend_ejected{backend="default/a",route="default/r"} 1.0
moltbot_agent_credential_present{backend="default/a",route="default/r"} 0.0
moltbot_worker_requests_total{code="2xx",rule="all"} 6.0
moltbot_worker_in_flight 2.0
moltbot_worker_cache_total{result="hit",rule="all"} 4.0
moltbot_worker_cache_total{result="stale",rule="all"} 1.0
moltbot_worker_cache_total{result="miss",rule="all"} 9.0
moltbot_worker_coalesced_total{rule="all"} 1.0
moltbot_worker_queue_depth{queue="default"} 4.0
"""


OVERLAP = State(
    phase=Phase.OVERLAP, version="v2", due=datetime(2030, 1, 1, tzinfo=UTC), message="v1 stays valid"
)


def test_the_view_shows_rates_latency_circuit_credential_and_why_files_are_not_served():
    compiled = CompiledRoute("abc", SimpleNamespace(namespace="default", route="r"), {}, (), (), (), ())
    subject = BackendCredential(BackendRef("default", "a"))
    server = SimpleNamespace(
        active=SimpleNamespace(
            gateway=SimpleNamespace(compiled=compiled, worker=SimpleNamespace(ends=2)),
            identity=Identity("default/r", "abc"),
        ),
        options=SimpleNamespace(metrics_port=9090),
        url="http://127.0.0.1:8080",
        draining=1,
        failure="in.yaml: line 3 column 1: wrong",
        rotations=SimpleNamespace(all=[Rotation(subject, SimpleNamespace(state=OVERLAP), None)]),
    )
    now, before = figures(SCRAPE), figures("")
    console = Console(file=io.StringIO(), width=160)
    console.print(screen(server, now, before, 2.0, ["serving default/r"]))
    text = console.file.getvalue()
    for shown in (
        "revision abc", "http://127.0.0.1:8080/v1", "1 draining", "21.0 requests/s", "1.0 errors/s",
        "3 in flight", "default/a", "22.5", "2.5", "100 ms", "open", "missing",
        "not taken over: in.yaml: line 3 column 1: wrong", "serving default/r",
        "worker: 0.0 requests/s  2 in flight  5 kept answers given  1 calls shared  4 jobs  ended 2 times",
        "credential of default/a: v2, Overlap, next 2030-01-01 00:00 UTC", "v1 stays valid",
    ):  # fmt: skip
        assert shown in text, shown


def test_the_view_says_that_the_worker_is_away():
    assert "away, requests go on without it" in worker_line(None, None, 1, 1.0).plain


def test_a_worker_that_keeps_ending_is_started_less_and_less_often():
    pauses = [pause_after(ends).total_seconds() for ends in range(1, 40)]
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30
    assert pause_after(0) == pause_after(1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they can't be held for another process")
def test_held_ports_are_given_to_nobody_who_takes_a_free_one():
    with held_ports(LOOPBACK) as ports, held_port(LOOPBACK) as public:
        wanted = {*vars(ports).values(), public}
        assert len(wanted) == 12
        for port in wanted:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((LOOPBACK, port))
        with contextlib.ExitStack() as stack:
            found = [stack.enter_context(bound(LOOPBACK, 0)).getsockname()[1] for _ in range(500)]
        assert not wanted & {*found}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they can't be held for another process")
@pytest.mark.parametrize("sharing", [False, True], ids=["alone", "as Envoy's threads"])
def test_who_a_held_port_is_meant_for_listens_ends_and_listens_again(sharing):
    with held_port(LOOPBACK) as port:
        for _ in range(2):
            with contextlib.ExitStack() as stack:
                for _ in range(1 + sharing):
                    stack.enter_context(socket.create_server((LOOPBACK, port), reuse_port=sharing))
                with socket.create_connection((LOOPBACK, port), timeout=10):
                    pass


def test_a_service_manager_is_told(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert channel.recv(100) == b"READY=1"
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
        notify("READY=1")
        monkeypatch.delenv("NOTIFY_SOCKET")
        notify("READY=1")
        channel.setblocking(False)
        with pytest.raises(BlockingIOError):
            channel.recv(100)
