"""The one-node bed from outside: starting it and ending it."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import build
import cgroups
import images
import layout
from health import ADDONS, addons_missing, answers, init_pid, is_up, kubectl, node_ready
from layout import HOST_KUBECONFIG, LOGS, LOOPBACK, NODE_ADDRESS, NODE_NAME, PLANE, RUNTIME
from processes import tail, wait_until

HERE = Path(__file__).resolve().parent
START_SECONDS = 180
"""How long a step of the start may take on a busy machine."""


TOOLS = ("runc", "nft", "ip", "conntrack", "unshare", "nsenter", "gcc", "openssl", "buildah", "debootstrap")
"""Programs of the machine that the node and its images need."""


def _provide_tools() -> None:
    if any(shutil.which(tool) is None for tool in TOOLS):
        subprocess.run([str(HERE / "install-packages")], check=True)


@contextmanager
def _alone() -> Iterator[None]:
    """One start or end of a bed at a time on a machine."""
    build.cache_dir().mkdir(parents=True, exist_ok=True)
    with (build.cache_dir() / f"{layout.NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        raise RuntimeError(
            f"port {port} of {LOOPBACK} is taken ({error.strerror}): end what listens there, or choose"
            " others by MOLTBOT_BED_API_PORT and MOLTBOT_BED_GATEWAY_PORT"
        ) from error
    listener.listen(128)
    return listener


def _prepare() -> None:
    """Files that the daemons need."""
    LOGS.mkdir(parents=True)
    PLANE.prepare()
    authority = PLANE.authority()
    authority.kubeconfig(
        RUNTIME / "kubelet.kubeconfig", PLANE.url, f"system:node:{NODE_NAME}", ["system:nodes"]
    )
    authority.issue("kubelet", NODE_NAME, names=[f"DNS:{NODE_NAME}", f"IP:{NODE_ADDRESS}"])
    authority.kubeconfig(
        HOST_KUBECONFIG, f"https://{LOOPBACK}:{layout.API_PORT}", "admin", ["system:masters"]
    )


def _start_node() -> subprocess.Popen[bytes]:
    targets = {
        layout.API_PORT: (NODE_ADDRESS, PLANE.port),
        layout.GATEWAY_PORT: (NODE_ADDRESS, layout.GATEWAY_NODE_PORT),
    }
    listeners = {_listen(port): target for port, target in targets.items()}
    try:
        cgroups.create()
        forwards = [f"{each.fileno()}={host}:{port}" for each, (host, port) in listeners.items()]
        with (LOGS / "node.log").open("wb") as log:
            return subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                 sys.executable, str(HERE / "node.py"), *forwards],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=[each.fileno() for each in listeners],
                preexec_fn=lambda: cgroups.join(cgroups.DAEMONS),  # noqa: PLW1509 - no threads here
            )  # fmt: skip
    finally:
        for each in listeners:
            each.close()


def _apply_addons() -> None:
    for name, tag in images.addon_tags().items():
        manifest = (HERE / "addons" / f"{name}.yaml").read_text().replace(f"${{{name}}}", tag)
        kubectl("apply", "--server-side", "-f", "-", stdin=manifest)


def up() -> str:
    """Brings the bed up, over what may be left of a crashed one; returns what there was to do."""
    with _alone():
        if is_up():
            return "the bed is up already"
        cleaned = _clean()
        _provide_tools()
        for component in build.components():
            build.build(component)
        archives = images.addon_archives()
        started = time.monotonic()
        _prepare()
        node = _start_node()

        def wait(what: str, probe: Callable[[], bool]) -> None:
            def checked() -> bool:
                if node.poll() is not None:
                    raise RuntimeError(f"the node ended: {tail(LOGS / 'node.log')}")
                return probe()

            wait_until(what, checked, START_SECONDS)

        try:
            wait("containerd", layout.CONTAINERD_SOCKET.exists)
            images.load(archives)
            wait("the API server", answers)
            _apply_addons()
            wait("the node to be ready", node_ready)
            node_seconds = time.monotonic() - started
            wait(f"{ADDONS} to be available", lambda: not addons_missing())
        except BaseException:
            keep = Path(tempfile.mkdtemp(prefix=f"{layout.NAME}-logs-"))
            shutil.copytree(LOGS, keep, dirs_exist_ok=True)
            _clean()
            print(f"the bed did not come up; its logs are in {keep}", file=sys.stderr)
            raise
        shutil.copy(HERE / "versions.toml", layout.VERSIONS)
        seconds = time.monotonic() - started
        before = f"{cleaned}; " if cleaned else ""
        return f"{before}node ready in {node_seconds:.0f} s, names resolve after {seconds:.0f} s"


def _clean() -> str:
    """Ends and removes all of the bed; returns what there was, or nothing."""
    ours, group = os.getpid(), cgroups.pids()
    while ours > 1:
        if ours in group:
            raise RuntimeError("this runs inside the bed (by tests/cluster/run): start it outside of it")
        ours = int(Path(f"/proc/{ours}/stat").read_text().rsplit(")", 1)[1].split()[1])
    init = init_pid()
    if init is not None:
        os.kill(init, 9)  # the kernel ends the rest, in one go
    found = len(group)
    cgroups.kill_all()
    cgroups.remove()
    _unmount()
    existed = RUNTIME.exists()
    if existed:
        shutil.rmtree(RUNTIME)
    return f"removed a bed of {found} processes" if found or existed else ""


def _mounts() -> list[str]:
    """Mount points of this namespace that are in the bed's folder, innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(RUNTIME)]


def _unmount() -> None:
    for point in _mounts():
        subprocess.run(["umount", "--lazy", point], check=True)


def down() -> str:
    """Ends the bed and leaves nothing of it."""
    with _alone():
        return _clean() or "there was no bed"


def leftovers() -> list[str]:
    """What is there of a bed: nothing, after `down`."""
    found = cgroups.leftovers() + [f"mount {point}" for point in _mounts()]
    if RUNTIME.exists():
        found.append(f"folder {RUNTIME}")
    for port in (layout.API_PORT, layout.GATEWAY_PORT):
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                found.append(f"listener on {LOOPBACK}:{port}")
    return found
