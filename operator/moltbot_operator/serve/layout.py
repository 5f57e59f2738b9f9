"""The folder of one agent and Envoy: everything that a gateway pod would have mounted."""

import os
import secrets
import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from moltbot_agent.certificate import check_pair
from moltbot_agent.files import write_if_different
from moltbot_agent.sources import Unusable
from moltbot_operator.compile import CompiledRoute, Files, Mount, WorkerAddress, WorkerFiles, worker_secret
from moltbot_operator.compile.probe_key import PROBE_KEY, TOKEN_KEY, probe_key
from moltbot_operator.constants import SYSTEM_CA
from moltbot_operator.errors import InvalidInput
from moltbot_operator.serve.files import Manifests
from moltbot_operator.serve.ports import LOOPBACK, Ports

__all__ = ["WORKER_CONFIG", "files_in", "write_config", "write_mounts"]

WORKER_CONFIG: Final = "worker.json"
"""What the worker is told, in the folder."""

_WORKER_DRAIN: Final = timedelta(seconds=8)
"""What a worker has begun when it is told to end; it is killed after ten (serve.children)."""

_CA_FILES: Final = (SYSTEM_CA, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where distributions keep the public CAs: Debian, Red Hat, others."""

_FOLDERS: Final[Mapping[str, str]] = {
    "credential": "credentials",
    "consumer": "consumers",
    "ca": "ca",
    "jwks": "jwks",
    "tls": "tls",
    "store": "store",
    "templates": "templates",
}


def files_in(folder: Path, address: str, ports: Ports, access_log: Path | None) -> Files:
    """The compiler's view of `folder`; without `access_log` records go to standard output."""
    return Files(
        loopback=True,
        run=str(folder / "run"),
        credentials=str(folder / "credentials"),
        consumers=str(folder / "consumers"),
        ca=str(folder / "ca"),
        jwks=str(folder / "jwks"),
        probe=str(folder / "probe"),
        tls=str(folder / "tls"),
        system_ca=_system_ca(),
        access_log=str(access_log or "/dev/stdout"),
        listen_address=address,
        gateway_port=ports.public,
        ready_port=ports.ready,
        admin_port=ports.admin,
        probe_port=ports.probe,
        worker=WorkerFiles(
            addresses=(WorkerAddress(LOOPBACK, ports.worker, ports.worker_metrics),),
            calls=f"http://{f'[{address}]' if ':' in address else address}:{ports.calls}",
            listen_port=ports.calls,
            port=ports.worker,
            metrics_port=ports.worker_metrics,
            evidence_port=ports.worker_evidence,
            secret=str(folder / "worker"),
            evidence_token=str(folder / "evidence" / TOKEN_KEY),
            store_password=str(folder / "store" / "password"),
            templates=str(folder / "templates"),
        ),
    )


def write_config(folder: Path, compiled: CompiledRoute, seed: str | None = None) -> str:
    """Configurations, and what is made here: evidence token, key of test requests, the workers' secret.

    `seed` is what the workers' secret is derived from; None: from the token, so that it ends with it.
    """
    for name in ("run", "config", "evidence", "probe"):
        (folder / name).mkdir()
    for number, part in enumerate(compiled.parts):
        (folder / "config" / f"part-{number:03}").write_bytes(part)
    token = secrets.token_urlsafe()
    (folder / "evidence" / TOKEN_KEY).write_text(token)
    (folder / "probe" / PROBE_KEY).write_text(probe_key(token))
    if compiled.worker is not None:
        secret = folder / "worker"
        secret.mkdir(mode=0o700)
        for name, value in worker_secret(seed or token, compiled.revision).items():
            (secret / name).write_text(value)
        limits = compiled.worker.limits.model_copy(update={"drain": _WORKER_DRAIN.total_seconds()})
        config = compiled.worker.model_copy(update={"host": LOOPBACK, "limits": limits})
        (folder / WORKER_CONFIG).write_text(config.model_dump_json(by_alias=True))
    return token


def write_mounts(folder: Path, mounts: tuple[Mount, ...], manifests: Manifests) -> int:
    """Values of Secrets and ConfigMaps as files, each replaced at once; how many files changed.

    What is no longer there goes; Secrets and keys that are missing leave their folder empty, as in a pod.
    InvalidInput where a private CA or the gateway's certificate is missing: Envoy could not even start.
    """
    changed = 0
    wanted: dict[Path, dict[str, bytes]] = {}
    for mount in mounts:
        target = folder / _FOLDERS[mount.purpose] / mount.folder
        wanted.setdefault(target, {}).update(_values(mount, manifests))
    for certificate in (values for target, values in wanted.items() if target.parent == folder / "tls"):
        _check_certificate(certificate)
    for target, values in wanted.items():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in [each for each in target.iterdir() if each.name not in values]:
            stale.unlink()
            changed += 1
        for name, value in values.items():
            changed += write_if_different(target / name, value)
    return changed


def _values(mount: Mount, manifests: Manifests) -> dict[str, bytes]:
    values = manifests.data.get((mount.kind, mount.namespace, mount.name), {})
    if mount.key is None:
        return dict(values)
    if mount.key in values and mount.path is not None:
        return {mount.path: values[mount.key]}
    if mount.purpose == "ca":
        raise InvalidInput(
            f"{mount.kind} {mount.namespace}/{mount.name} with the key {mount.key} (a backend's caRef) "
            "is in none of the files: add it"
        )
    return {}


def _check_certificate(values: Mapping[str, bytes]) -> None:
    """Envoy would not start without a usable pair."""
    for name in ("tls.crt", "tls.key"):
        if name not in values:
            raise InvalidInput(
                f"the Secret of gateway.tls.secretRef with the key {name} is in none of the files: add it"
            )
    try:
        check_pair(values["tls.crt"], values["tls.key"])
    except Unusable as error:
        raise InvalidInput(f"the Secret of gateway.tls.secretRef {error}") from error


def _system_ca() -> str:
    known = (*_CA_FILES, ssl.get_default_verify_paths().cafile or "")
    return next((file for file in known if os.path.isfile(file)), SYSTEM_CA)  # noqa: PTH113 - may be ""
