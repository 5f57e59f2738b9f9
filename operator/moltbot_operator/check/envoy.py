"""Asks real Envoy whether it takes a configuration, with everything that is delivered by file merged in.

`--mode validate` does not look into dynamic files, and ends by a signal for a static secret that is missing,
so any code but 0 is a refusal.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from moltbot_agent.config import Verifier
from moltbot_agent.envoy import binary
from moltbot_agent.leaving import STAYING
from moltbot_operator.compile import CompiledRoute, Files, Mount, RouteSources, compile_route
from moltbot_operator.compile.envoy.leaving import overload_manager
from moltbot_operator.compile.worker_secret import SDS_FILE, USERS_FILE, worker_secret
from moltbot_operator.errors import EnvoyRejected
from moltbot_operator.serve.files import DataKind

__all__ = ["merged", "refusal", "validated"]

Data = Mapping[tuple[DataKind, str, str], Mapping[str, bytes]]
"""Values of Secrets and ConfigMaps, by kind, namespace and name."""

_GENERIC: Final = {"generic_secret": {"secret": {"inline_string": "x"}}}

_LIMIT: Final = timedelta(seconds=120)


@dataclass
class _Merge:
    compiled: CompiledRoute
    secrets: set[str] = field(default_factory=set)

    def static(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.static(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "sds_config" in node:
            path = node["sds_config"]["path_config_source"]["path"]
            delivered = (*self.compiled.agent.credentials, self.compiled.agent.certificate)
            known = {str(each.target) for each in delivered if each and each.name == node["name"]}
            known.add(f"{self.compiled.files.worker.secret}/{SDS_FILE}")
            if path not in known:
                raise EnvoyRejected(f"nothing delivers the secret {node['name']} to {path}")
            self.secrets.add(node["name"])
            return {"name": node["name"]}
        if "config_discovery" in node:
            return self._delivered(node)
        if node.get("filename") == f"{self.compiled.files.worker.secret}/{USERS_FILE}":
            return {"inline_string": worker_secret("", "")[USERS_FILE]}
        return {key: self.static(value) for key, value in node.items()}

    def _delivered(self, node: dict[str, Any]) -> dict[str, Any]:
        """A filter that the agent writes to a file: keys of consumers and of test requests, or of issuers."""
        agent = self.compiled.agent
        verifier, known = agent.verifier, [each for each in (agent.consumers, agent.probe) if each]
        path = node["config_discovery"]["config_source"]["path_config_source"]["path"]
        if verifier is not None and (node["name"], path) == (verifier.resource, str(verifier.target)):
            return _tokens(node, verifier)
        place = (node["name"], path)
        consumers = next((each for each in known if (each.resource, str(each.target)) == place), None)
        if consumers is None:
            raise EnvoyRejected(f"nothing delivers the filter {node['name']} to {path}")
        found = reduce(getitem, consumers.inside, template := deepcopy(consumers.template))
        found["credentials"] = [{"key": each.consumer, "client": each.consumer} for each in consumers.keys]
        return {"name": node["name"], "typed_config": template}


def _tokens(node: dict[str, Any], verifier: Verifier) -> dict[str, Any]:
    if not {each.provider for each in verifier.keys} <= verifier.template["providers"].keys():
        raise EnvoyRejected("keys are delivered for an issuer that no filter knows")
    return {"name": node["name"], "typed_config": verifier.template}


def merged(compiled: CompiledRoute) -> dict[str, Any]:
    """One static bootstrap: secrets and consumers' keys inside, with values that say nothing."""
    merge = _Merge(compiled)
    document: dict[str, Any] = merge.static(orjson.loads(orjson.dumps(compiled.envoy)))
    shown = compiled.agent.certificate
    document["static_resources"]["secrets"] = [
        {"name": name, **(_pair() if shown and shown.name == name else _GENERIC)}
        for name in sorted(merge.secrets)
    ]
    return document


def refusal(compiled: CompiledRoute, folder: Path) -> str | None:
    """What Envoy says against the configuration; None if it takes it. CA files must exist."""
    document = merged(compiled)
    stays = folder / "leave"  # the agent writes it; Envoy wants to watch it even if it only validates
    stays.write_bytes(STAYING)
    document["overload_manager"] = overload_manager(str(stays))
    file = folder / "validate.json"
    file.write_bytes(orjson.dumps(document))
    command = [str(binary()), "--mode", "validate", "-c", str(file), "--reject-unknown-dynamic-fields"]
    done = subprocess.run(
        [*command, "--disable-hot-restart", "--log-level", "error"],
        capture_output=True,
        text=True,
        timeout=_LIMIT.total_seconds(),
        check=False,
    )
    return None if done.returncode == 0 else f"code {done.returncode}: {done.stderr[-2000:].strip()}"


def validated(sources: RouteSources, data: Data) -> str | None:
    """As :func:`refusal`, of a route. Private CAs come from `data`, else they are stood in for."""
    with tempfile.TemporaryDirectory(prefix="moltbot-check-") as name:
        folder = Path(name)
        (folder / "system.crt").write_bytes(_some_ca())
        files = Files(
            ca=str(folder / "ca"), system_ca=str(folder / "system.crt"), loopback=sources.files.loopback
        )
        compiled = compile_route(replace(sources, files=files))
        for mount in compiled.mounts:
            if mount.purpose == "ca":
                _write_ca(folder / "ca", mount, data)
        return refusal(compiled, folder)


def _write_ca(folder: Path, mount: Mount, data: Data) -> None:
    values = data.get((mount.kind, mount.namespace, mount.name), {})
    target = folder / mount.folder / (mount.path or "ca.crt")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(values.get(mount.key or "", b"") or _some_ca())


def _some_ca() -> bytes:
    """An authority of our own, since Envoy reads the file at once."""
    return _made()[0].public_bytes(Encoding.PEM)


def _pair() -> dict[str, Any]:
    """A certificate to show to clients."""
    certificate, key = _made()
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = {"inline_string": certificate.public_bytes(Encoding.PEM).decode()}
    return {
        "tls_certificate": {"certificate_chain": chain, "private_key": {"inline_string": written.decode()}}
    }


@cache
def _made() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "moltbot check")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key
