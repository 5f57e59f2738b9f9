"""What a backend is sent as its credential, and the files that the agent needs for it.

=========  ===========================================  ============================================
auth.type  the Secret's key becomes the file            what is sent
=========  ===========================================  ============================================
APIKey     the key                                      the key, in the provider's header
OAuth2     the client's secret                          `Authorization: Bearer`, a fetched token
JWT        the private key in PEM, given or managed     `Authorization: Bearer`, a signed token
=========  ===========================================  ============================================
"""

from pathlib import Path
from typing import Final

from moltbot_agent.config import FetchedToken, SignedToken
from moltbot_operator.api import AuthType, CaRef, JWTAuth, ModelBackendSpec, OAuth2Auth, SecretKeyRef
from moltbot_operator.api.endpoint import credential_header
from moltbot_operator.compile.ir import UpstreamCredential
from moltbot_operator.compile.result import Mount
from moltbot_operator.compile.sources import BackendRef, Files

__all__ = [
    "MANAGED_KEY",
    "ROTATED_KEY",
    "ROTATED_NEXT",
    "credential",
    "jwks_name",
    "managed_secret",
    "rotated_secret",
    "secret_ref",
    "token_ca_mount",
]

MANAGED_KEY: Final = "key.pem"
"""Key in a managed signing key's Secret."""


ROTATED_KEY: Final = "value"
"""Key of the rotated credential's Secret with the value in use."""

ROTATED_NEXT: Final = "next"
"""Key in it with the value to come, while gateways are to hold that already."""


def rotated_secret(backend: str) -> str:
    """Name of the Secret that gateways mount once the operator rotates a backend's credential.

    The name stays as the credential changes, so that its new value is no new revision.
    """
    return f"{backend}-credential"


def managed_secret(backend: str, algorithm: str) -> str:
    """Name of the Secret with the private key that the operator makes for a backend.

    Another algorithm needs another key, and an existing one is never overwritten.
    """
    return f"{backend}-signing-key-{algorithm.lower()}"


def jwks_name(backend: str, spec: ModelBackendSpec) -> str:
    """Name of the ConfigMap with the public halves of a backend's managed keys."""
    managed = spec.rotation.issuer.managed_key if spec.rotation is not None else None
    return (managed.config_map_name if managed is not None else None) or f"{backend}-jwks"


def secret_ref(backend: str, spec: ModelBackendSpec, *, rotated: bool = False) -> SecretKeyRef | None:
    """The Secret's key that the backend's credential comes from, and lies in its namespace; None for none.

    `rotated`: the operator has taken it over.
    """
    auth = spec.auth
    if rotated:
        return SecretKeyRef(name=rotated_secret(backend), key=ROTATED_KEY)
    match auth.type:
        case AuthType.API_KEY if auth.api_key is not None:
            return auth.api_key.secret_ref
        case AuthType.OAUTH2 if auth.oauth2 is not None:
            return auth.oauth2.client_secret_ref
        case AuthType.JWT if auth.jwt is not None:
            given = auth.jwt.signing_key.secret_ref
            return given or SecretKeyRef(name=managed_secret(backend, auth.jwt.algorithm), key=MANAGED_KEY)
    return None


def credential(
    ref: BackendRef, spec: ModelBackendSpec, files: Files, *, rotated: bool = False
) -> UpstreamCredential | None:
    """What the backend is sent."""
    found = secret_ref(ref.name, spec, rotated=rotated)
    if found is None:
        return None
    if spec.auth.oauth2 is not None:
        token: FetchedToken | SignedToken | None = _fetched(ref, spec.auth.oauth2, files)
    elif spec.auth.jwt is not None:
        token = _signed(spec.auth.jwt)
    else:
        sent = credential_header(spec)
        return UpstreamCredential(
            sent.name, sent.prefix, ref.namespace, found.name, found.key, rotated=rotated
        )
    return UpstreamCredential(
        "authorization", "Bearer ", ref.namespace, found.name, found.key, token, rotated=rotated
    )


def token_ca_mount(ref: BackendRef, spec: ModelBackendSpec) -> Mount | None:
    """The private CA bundle of the backend's token endpoint, in a folder that all who name it share."""
    ca = spec.auth.oauth2.ca_ref if spec.auth.oauth2 else None
    if ca is None:
        return None
    return Mount(ca.kind.value, ref.namespace, ca.name, ca.key, "ca", _ca_folder(ref, ca), ca.key)


def _ca_folder(ref: BackendRef, ca: CaRef) -> str:
    """Another than any backend's own, whose name has one underscore."""
    return f"{ref.namespace}_{ca.kind.lower()}_{ca.name}"


def _fetched(ref: BackendRef, oauth2: OAuth2Auth, files: Files) -> FetchedToken:
    ca = files.system_ca
    if oauth2.ca_ref is not None:
        ca = f"{files.ca}/{_ca_folder(ref, oauth2.ca_ref)}/{oauth2.ca_ref.key}"
    return FetchedToken(
        url=oauth2.token_url,
        client_id=oauth2.client_id or "",
        authentication=oauth2.client_authentication.value,
        scopes=oauth2.scopes,
        audience=oauth2.audience,
        ca=Path(ca),
    )


def _signed(jwt: JWTAuth) -> SignedToken:
    return SignedToken(
        issuer=jwt.issuer,
        subject=jwt.subject,
        audience=jwt.audience,
        algorithm=jwt.algorithm.value,
        ttl_s=jwt.ttl.total_seconds(),
    )
