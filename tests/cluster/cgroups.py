"""The bed's control group: it holds all processes of the bed, children and pods too.

A process is the bed's when, and only when, it is in this group. So nothing has to be remembered
about processes, no reused process id can be mistaken, and a crashed bed is cleaned up like a healthy
one. Works with version 1 hierarchies (also hybrid) and with version 2.
"""

import errno
import os
import signal
from pathlib import Path

from layout import CGROUP
from processes import wait_until

DAEMONS, COMMANDS = "daemons", "run"
"""Subgroups: the bed's own programs; commands of `run`. The kubelet adds `kubepods`."""


def hierarchies() -> list[Path]:
    """Mount points of the version 1 hierarchies, or else of version 2."""
    found: dict[str, list[Path]] = {"cgroup": [], "cgroup2": []}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        kind = after.split()[0]
        if kind in found:
            found[kind].append(Path(before.split()[4]))
    return sorted(set(found["cgroup"] or found["cgroup2"]))


def _groups() -> list[Path]:
    return [root / CGROUP for root in hierarchies() if (root / CGROUP).is_dir()]


def _prepare_cpuset(group: Path) -> None:
    """Version 1: a new cpuset takes no process until it is given CPUs and memory nodes."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if file.exists() and not (group / "cgroup.controllers").exists() and not file.read_text().strip():
            file.write_text((group.parent / name).read_text())


def _delegate(group: Path) -> None:
    """Version 2: lets subgroups use the controllers that the kubelet asks for."""
    available = group / "cgroup.controllers"
    if available.exists():
        wanted = {"cpu", "cpuset", "memory", "pids", "hugetlb", "io"} & set(available.read_text().split())
        (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(wanted)))


def create() -> None:
    """Makes the group and its subgroups in every hierarchy."""
    for root in hierarchies():
        _delegate(root)
        group = root / CGROUP
        for each in (group, group / DAEMONS, group / COMMANDS):
            each.mkdir(exist_ok=True)
            _prepare_cpuset(each)
            if each == group:
                _delegate(each)


def join(subgroup: str) -> None:
    """Puts this process, and so all its children to come, into the group."""
    for group in _groups():
        (group / subgroup / "cgroup.procs").write_text(str(os.getpid()))


def pids() -> set[int]:
    """Processes of the bed."""
    found: set[int] = set()
    for group in _groups():
        for folder, _, files in os.walk(group):
            if "cgroup.procs" in files:
                try:
                    found.update(int(line) for line in Path(folder, "cgroup.procs").read_text().split())
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ENODEV):  # the group has just gone
                        raise
    return found - {0}


def _kill(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # ended by itself
    try:
        if pid in pids():  # asked again with the handle held: the id cannot have been reused since
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def kill_all(seconds: float = 30) -> int:
    """Kills every process of the bed; returns how many there were."""
    count = len(pids())

    def none_left() -> bool:
        left = sorted(pids())
        for pid in left:
            _kill(pid)
        return not left

    wait_until(f"the end of processes in control group {CGROUP}", none_left, seconds, every=0.05)
    return count


def remove(seconds: float = 10) -> None:
    """Removes the group, which is empty, from every hierarchy."""

    def gone() -> bool:
        for group in _groups():
            for folder, _, _ in os.walk(group, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError as error:
                    if error.errno not in (errno.EBUSY, errno.ENOENT):
                        raise
        return not _groups()

    wait_until(f"removal of control group {CGROUP}", gone, seconds)


def leftovers() -> list[str]:
    return [f"control group {group}" for group in _groups()] + [f"process {pid}" for pid in sorted(pids())]
