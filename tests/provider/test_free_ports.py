import contextlib
import socket
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from free_ports import FIRST, LAST, free_port, free_ports


def test_no_port_comes_twice_whoever_asks():
    with ProcessPoolExecutor(4) as processes:
        found = [port for ports in processes.map(free_ports, [50] * 8) for port in ports]
    assert len(set(found)) == 400
    assert all(FIRST <= port <= LAST for port in found)


def test_a_port_that_is_taken_is_left_out():
    port = free_port()
    after = port + 1 if port < LAST else FIRST
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # somebody else has it: just as well
            taken.bind(("127.0.0.1", after))
        assert after not in free_ports(20)


def test_none_are_wanted():
    assert free_ports(0) == []


def test_too_many_are_refused():
    with pytest.raises(OSError, match="no 20000 free ports"):
        free_ports(20_000)


@pytest.mark.skipif(sys.platform != "linux", reason="where Linux tells its range")
def test_no_outgoing_connection_gets_one_of_them():
    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert lowest > LAST
