"""A certificate authority made for one bed, with `openssl` (3, or LibreSSL), and kubeconfigs.

Keys are elliptic (P-256): making one takes milliseconds. Everything lives in one folder and goes
with it; certificates are valid for a year.
"""

import base64
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DAYS = "365"
"""Validity of certificates, days."""


def _openssl(*args: str) -> None:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {args[0]} failed: {done.stderr.strip()}")


def _new_key(path: Path) -> None:
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))


@dataclass(frozen=True)
class Pair:
    """A certificate and its key (PEM files)."""

    cert: Path
    key: Path


class Authority:
    """The bed's CA. Certificates it issued are found in `folder` as NAME.crt and NAME.key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.pair = Pair(folder / "ca.crt", folder / "ca.key")
        if not self.pair.cert.exists():
            _new_key(self.pair.key)
            _openssl("req", "-x509", "-new", "-key", str(self.pair.key), "-days", DAYS, "-out",
                     str(self.pair.cert), "-subj", "/CN=moltbot-bed")  # fmt: skip

    @property
    def ca(self) -> Path:
        return self.pair.cert

    def issue(
        self, name: str, common_name: str, groups: Sequence[str] = (), names: Sequence[str] = ()
    ) -> Pair:
        """A certificate for a server (`names`: its "DNS:…" and "IP:…") or for a user in `groups`."""
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if pair.cert.exists():
            return pair
        _new_key(pair.key)
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={common_name}"
        extensions = "keyUsage=digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n"
        if names:
            extensions += f"subjectAltName={','.join(names)}\n"
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            request, options = Path(scratch, "request"), Path(scratch, "options")
            options.write_text(extensions)
            _openssl("req", "-new", "-key", str(pair.key), "-subj", subject, "-out", str(request))
            _openssl("x509", "-req", "-in", str(request), "-CA", str(self.pair.cert), "-CAkey",
                     str(self.pair.key), "-CAserial", str(Path(scratch, "serial")), "-CAcreateserial",
                     "-days", DAYS, "-extfile", str(options), "-out", str(pair.cert))  # fmt: skip
        return pair

    def signing_key(self, name: str) -> Pair:
        """A bare key for service account tokens; `cert` is its public half."""
        pair = Pair(self.folder / f"{name}.pub", self.folder / f"{name}.key")
        if not pair.cert.exists():
            _new_key(pair.key)
            _openssl("pkey", "-in", str(pair.key), "-pubout", "-out", str(pair.cert))
        return pair

    def kubeconfig(self, path: Path, server: str, user: str, groups: Sequence[str] = ()) -> Path:
        """Writes a kubeconfig (whole in itself) by which `user` of `groups` reaches `server`."""
        pair = self.issue(f"user-{user.replace(':', '-')}", user, groups)

        def inline(file: Path) -> str:
            return base64.b64encode(file.read_bytes()).decode()

        cluster = {"server": server, "certificate-authority-data": inline(self.ca)}
        client = {"client-certificate-data": inline(pair.cert), "client-key-data": inline(pair.key)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "moltbot-bed", "cluster": cluster}],
            "users": [{"name": user, "user": client}],
            "contexts": [{"name": "moltbot-bed", "context": {"cluster": "moltbot-bed", "user": user}}],
            "current-context": "moltbot-bed",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))
        return path
