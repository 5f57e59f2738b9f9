"""What a rotation needs of whoever makes credentials: the seam between the machine and the issuers' clients.

::

    find ──▶ every credential at the issuer whose tag begins with ours, without its value
    create ─▶ a new one, tagged; its answer is stored whole before anything else happens
    verify ─▶ it is used once, for real
    revoke ─▶ it is worth nothing from now on

A tag is `moltbot-<uid of the owner>-<version>` (see :func:`tag_prefix`), so that a credential whose creation
was not written down, since somebody died in between, is found again and revoked.

Errors tell what a caller may assume (`errors.py`): NothingHappened (surely no effect: safe to do again),
Unclear (it may have happened: look before it is done again), Refused (the issuer said no, and will say so
again), NotOurs (the issuer can't be told which credential is meant).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from moltbot_operator.api import CaRef, ModelBackendSpec, SecretKeyRef

__all__ = ["Credential", "Found", "Issuer", "IssuerFor", "Reader", "tag_of", "tag_prefix"]


def tag_prefix(uid: str) -> str:
    """What every tag of one owner (a ModelBackend by its uid) begins with."""
    return f"moltbot-{uid}-"


def tag_of(uid: str, version: str) -> str:
    """The tag of one version's credential."""
    return tag_prefix(uid) + version


@dataclass(frozen=True)
class Found:
    """A credential that the issuer lists."""

    id: str
    """The issuer's own identifier, by which it is revoked; no secret."""
    tag: str


@dataclass(frozen=True)
class Credential:
    """A credential with all that the issuer told of it. It is stored whole, in a Secret of its own."""

    id: str
    """The issuer's own identifier; empty where it is not known (one that a person made)."""
    tag: str
    """Empty for one that a person made."""
    value: str = field(repr=False)
    """What gateways use: the API key, the client's secret, the private key in PEM, or for a client that was
    registered the compact JSON object `{"client_id": …, "client_secret": …}`."""
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Whatever the issuer's client needs later, such as the registration access token and the whole answer.
    Keys match `[-._a-zA-Z0-9]+`; as secret as the value."""
    not_after: datetime | None = None
    """When it expires; None: never, or not known."""


class Issuer(Protocol):
    """One backend's issuer. Every call has a timeout of its own and raises IssuerError only.

    No message of an error and no log line holds a value.
    """

    lists: bool
    """Whether `find` can list (RFC 7591 servers can't: there a lost answer leaves an orphan nobody finds)."""

    async def find(self, prefix: str) -> tuple[Found, ...]:
        """All credentials whose tag begins with `prefix`; () where the issuer can't list.

        Reads only, so its errors never mean Unclear.
        """

    async def create(self, tag: str) -> Credential:
        """A new credential with this tag."""

    async def verify(self, credential: Credential) -> None:
        """Use it, as the gateway will (a model list, a token request); returns if it was taken.

        Refused: it was not taken. NothingHappened: that could not be found out just now.
        """

    async def revoke(self, known: Found | Credential) -> None:
        """Returns once the issuer confirms, or says that it knows none of this id.

        NotOurs where the credential was made by a person and the issuer needs an id that nobody knows.
        """


class Reader(Protocol):
    """Reads what a backend's spec refers to, in the backend's namespace."""

    async def secret(self, ref: SecretKeyRef) -> str:
        """The value without a newline at its end. InvalidInput names the Secret, the key and the remedy."""

    async def ca(self, ref: CaRef) -> str:
        """A bundle in PEM. InvalidInput as above."""


IssuerFor = Callable[[ModelBackendSpec, str, Reader], Awaitable[Issuer]]
"""Opens a backend's issuer: spec, namespace (for the preset's endpoint), and a reader.

Issuers of type Webhook and DynamicRegistration call theirs. For ManagedKey and External `create` and
`revoke` are the driver's own, and only `verify` goes out. InvalidInput if what the spec refers to is missing.
"""
