"""Certificates for tests of TLS: authorities, and certificates that are right or wrong in one way."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority"]

DAY = dt.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A private CA."""

    def __init__(self, name: str = "corp") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        now = dt.datetime.now(dt.UTC)
        made = x509.CertificateBuilder(
            self.name, self.name, self.key.public_key(), x509.random_serial_number()
        )
        made = made.not_valid_before(now - 2 * DAY).not_valid_after(now + DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = made.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """What clients trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, folder: Path, *names: str, expired: bool = False) -> tuple[str, str]:
        """Files of a certificate chain and its key, for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = dt.datetime.now(dt.UTC) + (-DAY if expired else DAY)
        made = x509.CertificateBuilder(
            self.name, _name("server"), key.public_key(), x509.random_serial_number()
        )
        made = made.not_valid_before(end - 2 * DAY).not_valid_after(end)
        made = made.add_extension(x509.SubjectAlternativeName([_san(each) for each in names]), critical=False)
        signed = made.sign(self.key, hashes.SHA256())
        chain, private = folder / f"{names[0]}.crt", folder / f"{names[0]}.key"
        chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(chain), str(private)

    def context(
        self, folder: Path, *names: str, expired: bool = False, newest: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """A server's side of TLS, up to the version `newest`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(folder, *names, expired=expired))
        if newest is not None:
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
            context.set_ciphers("ALL:@SECLEVEL=0")
        return context


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
