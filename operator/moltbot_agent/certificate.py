"""The certificate that clients are shown: from a mounted Secret to the SDS file that Envoy watches.

A renewed pair is taken up whole or not at all: while the kubelet swaps the files, or if the key is not the
certificate's, the pair before it stays in use. Without any usable pair Envoy is not started, since it would
take connections that it can't answer.
"""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from moltbot_agent.config import Certificate
from moltbot_agent.sources import Unusable, file_signature

__all__ = ["CertificateDelivery", "certificate_resource", "check_pair"]

_SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105

LARGEST: Final = 256 * 1024
"""Bytes of a chain or key that are read."""


def check_pair(chain: bytes, key: bytes) -> None:
    """Raises Unusable, whose text follows the object's name, unless this is a chain in PEM and its key."""
    from cryptography import x509  # noqa: PLC0415 -- gateways without TLS start without it
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise Unusable("has no certificate in PEM in its key tls.crt; put the chain there") from error
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unusable("has no unencrypted private key in PEM in its key tls.key; put it there") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificates[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise Unusable("has a tls.key that is not the key of the first certificate in tls.crt; replace one")


def certificate_resource(name: str, chain: bytes, key: bytes) -> bytes:
    """The SDS file: a DiscoveryResponse with the pair."""
    pair = {
        "certificate_chain": {"inline_bytes": b64encode(chain).decode()},
        "private_key": {"inline_bytes": b64encode(key).decode()},
    }
    resource = {"@type": _SECRET_TYPE, "name": name, "tls_certificate": pair}
    return orjson.dumps({"resources": [resource]}, option=orjson.OPT_SORT_KEYS)


class CertificateDelivery:
    """The pair's file, written again whenever the Secret changed."""

    def __init__(self, certificate: Certificate, write: Callable[[Path, bytes], bool]) -> None:
        self._certificate = certificate
        self._write = write
        self._seen: tuple[object, ...] | None = None
        self.problem: str | None = None
        """What keeps the pair from being used; never the key."""

    @property
    def target(self) -> Path:
        """The file that Envoy watches."""
        return self._certificate.target

    def run_once(self) -> None:
        """Carry out what changed since the last time."""
        now = self._signature()
        if now == self._seen:
            return
        self._seen = None
        folder = self._certificate.source
        try:
            chain, key = _read(folder / "tls.crt"), _read(folder / "tls.key")
            check_pair(chain, key)
        except Unusable as error:
            self.problem = f"the gateway's certificate: {folder} {error}{self._rest()}"
            return
        except OSError as error:
            self.problem = f"the gateway's certificate: {error.filename} can't be read: {error.strerror}" + (
                self._rest() or "; create the Secret of type kubernetes.io/tls"
            )
            return
        if self._signature() != now:
            return  # swapped while it was read: look again the next time
        if self._write(self.target, certificate_resource(self._certificate.name, chain, key)):
            self._seen, self.problem = now, None

    def _rest(self) -> str:
        return "; the one before stays in use" if self.target.exists() else ""

    def _signature(self) -> tuple[object, ...]:
        folder = self._certificate.source
        return (file_signature(folder / "tls.crt"), file_signature(folder / "tls.key"))


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Unusable(f"has a {path.name} longer than {LARGEST} bytes; leave out what is no certificate")
    return content
