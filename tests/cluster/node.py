"""The node: first process of the bed's namespaces, which starts the daemons and keeps them running.

`up` starts it in new process, mount and network namespaces. When it ends, however it ends, the kernel
ends every process of the bed, pods too, and their mounts and links vanish with the namespaces:
this is what makes the bed leave nothing. It ends by itself when a daemon dies before the bed is up;
later it starts a daemon that died again.

Arguments are those of forward.py.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import build
import network
from layout import CONTAINERD_SOCKET, LOGS, NODE_ADDRESS, NODE_NAME, PLANE, RUNTIME
from node_config import containerd_config, kubelet_config, proxy_config
from probe import listening, status
from processes import Daemon, wait_until

RESTART_SECONDS = 1.0
"""Pause before a daemon that died is started again."""

PRIVATE = {"/run": "run", "/var/log": "var-log", "/var/lib": "var-lib"}
"""Folders that daemons write to by habit -> the bed's folders that stand in their place."""


def hide_host_folders() -> None:
    for folder, name in PRIVATE.items():
        stand_in = RUNTIME / name
        stand_in.mkdir()
        if RUNTIME.is_relative_to(folder):  # would be hidden too
            inner = stand_in / RUNTIME.relative_to(folder)
            inner.mkdir(parents=True)
            subprocess.run(["mount", "--bind", str(RUNTIME), str(inner)], check=True)
        subprocess.run(["mount", "--rbind", str(stand_in), folder], check=True)


class Node:
    """The daemons of this node, in the order in which they were started."""

    def __init__(self) -> None:
        self._binaries = build.binaries()
        self._daemons: list[Daemon] = []

    def start(self, argv: list[str], pass_fds: tuple[int, ...] = ()) -> None:
        log = LOGS / f"{Path(argv[0]).name}.log"
        self._daemons.append(Daemon(argv, log, self._binaries, pass_fds).start())

    def wait(self, what: str, probe: Callable[[], bool], seconds: float = 90) -> None:
        def checked() -> bool:
            for daemon in self._daemons:
                daemon.check()
            return probe()

        wait_until(what, checked, seconds)

    def bring_up(self, forwards: list[str]) -> None:
        hide_host_folders()
        network.set_up()
        self.start(PLANE.etcd())
        config = RUNTIME / "containerd.toml"
        config.write_text(containerd_config(self._binaries["ptp"].parent))
        self.start(["containerd", f"--config={config}"])
        self.wait("etcd", lambda: listening("127.0.0.1", PLANE.etcd_port))
        self.start(PLANE.apiserver())
        self.wait("the API server", lambda: status(PLANE, "/readyz") == 200)
        self.start(PLANE.controller_manager())
        self.start(PLANE.scheduler())
        self.wait("containerd", CONTAINERD_SOCKET.exists)
        for name, settings in (("kubelet", kubelet_config()), ("kube-proxy", proxy_config())):
            (RUNTIME / f"{name}.json").write_text(json.dumps(settings))
        self.start([
            "kubelet", f"--config={RUNTIME}/kubelet.json", f"--kubeconfig={RUNTIME}/kubelet.kubeconfig",
            f"--root-dir={RUNTIME}/kubelet", f"--node-ip={NODE_ADDRESS}", f"--hostname-override={NODE_NAME}",
        ])  # fmt: skip
        self.start(["kube-proxy", f"--config={RUNTIME}/kube-proxy.json"])
        sockets = tuple(int(each.split("=")[0]) for each in forwards)
        forward = Path(__file__).with_name("forward.py")
        self.start([sys.executable, str(forward), *forwards], sockets)

    def keep(self) -> None:
        """For ever: starts daemons that ended again and buries orphans, as a first process must."""
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            if ended is None:  # nobody has ended (only with WNOHANG)
                continue
            daemon = next((each for each in self._daemons if each.pid == ended.si_pid), None)
            if daemon is None:
                os.waitpid(ended.si_pid, 0)
                continue
            print(f"{daemon.name} ended with {ended.si_status}, starting it again", flush=True)
            daemon.stop()
            time.sleep(RESTART_SECONDS)
            daemon.start()


def main(forwards: list[str]) -> None:
    node = Node()
    try:
        node.bring_up(forwards)
    except (RuntimeError, TimeoutError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"the node did not start: {error}")
    print("all daemons are started", flush=True)
    node.keep()


if __name__ == "__main__":
    main(sys.argv[1:])
