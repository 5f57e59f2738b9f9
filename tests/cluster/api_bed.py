"""The light bed: etcd, API server and controller manager on loopback, without root and without a node.

    with ApiBed() as bed:
        bed.kubectl("get", "namespaces")

Everything is real but pods, which never run. Ports are free ones, files are in a temporary folder,
and nothing outlives the process that made the bed. Create it in the main thread: Linux ends children
with the thread that started them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import build
from daemons import ControlPlane
from free_ports import free_ports
from probe import status
from processes import Daemon, wait_until

START_DEADLINE = 90.0
"""How long the API server may take on a busy machine, seconds."""

LOOPBACK = "127.0.0.1"


class ApiBed:
    """A control plane of its own for as long as the `with` block lasts."""

    def __init__(
        self, folder: Path | None = None, *, apiserver: Sequence[str] = (), controllers: Sequence[str] = ()
    ) -> None:
        """`folder`: kept afterwards when given (to read logs), else a temporary one.

        `apiserver`, `controllers`: more flags of these daemons; they win over the usual ones.
        """
        self._keep = folder is not None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="moltbot-api-bed-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        api, etcd, peer = free_ports(3)
        self.plane = ControlPlane(self.folder, LOOPBACK, api, etcd, peer)
        self._binaries = build.binaries()
        self._etcd = self._daemon(self.plane.etcd())
        self._apiserver = self._daemon([*self.plane.apiserver(), *apiserver])
        self._controllers = self._daemon([*self.plane.controller_manager(), *controllers])

    def _daemon(self, argv: list[str]) -> Daemon:
        return Daemon(argv, self.folder / f"{argv[0]}.log", self._binaries)

    @property
    def url(self) -> str:
        return self.plane.url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.plane.kubeconfig

    @property
    def audit_log(self) -> Path:
        """One JSON event per line, level Metadata, one per request, when it is answered."""
        return self.plane.audit_log

    def start(self) -> Self:
        for component in build.components(node=False, tools=False):
            build.build(component)
        try:
            self.plane.prepare()
            self._etcd.start()
            self.start_apiserver()
            self._controllers.start()
            wait_until("the default service account", self._has_default_account, START_DEADLINE)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for daemon in (self._controllers, self._apiserver, self._etcd):
            daemon.stop()
        if not self._keep:
            shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop_apiserver(self) -> None:
        """Kills the API server, as a crash would; its port stays the bed's."""
        self._apiserver.stop()

    def start_apiserver(self) -> None:
        self._apiserver.start()
        wait_until("the API server to be ready", lambda: self._get("/readyz") == 200, START_DEADLINE)

    def restart_apiserver(self) -> None:
        """Kills the API server and starts it on the same port; returns when it is ready."""
        self.stop_apiserver()
        self.start_apiserver()

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """The output of kubectl; raises with its message when it fails."""
        done = subprocess.run(
            [str(self._binaries["kubectl"]), f"--kubeconfig={self.kubeconfig}", *args],
            input=stdin, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def user_kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of another user, whose rights are what RBAC gives them."""
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        return self.plane.authority().kubeconfig(path, self.url, user, groups)

    def audit_events(self) -> Iterator[dict[str, Any]]:
        """Every request answered so far, oldest first (see audit.k8s.io/v1 Event)."""
        with self.audit_log.open() as log:
            for line in log:
                if line.endswith("\n"):
                    yield json.loads(line)

    def _get(self, path: str) -> int:
        """The status the administrator gets for `path`; raises when a daemon has died."""
        self._apiserver.check()
        self._etcd.check()
        return status(self.plane, path)

    def _has_default_account(self) -> bool:
        self._controllers.check()
        return self._get("/api/v1/namespaces/default/serviceaccounts/default") == 200


def main() -> int:
    """Runs a bed until its input ends or it is interrupted: for looking around by hand."""
    started = time.monotonic()
    with ApiBed() as bed:
        print(f"ready in {time.monotonic() - started:.1f} s: export KUBECONFIG={bed.kubeconfig}", flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
