"""Private keys, and the tokens that they sign.

Used by the agent, which signs, and by the operator, which says in a condition what is wrong with a key. The
libraries are imported on use: a gateway without such tokens starts without them.

Source: RFC 7515 (JWS), RFC 7518 §3 (algorithms), RFC 7519 (claims), RFC 7638 (thumbprint), RFC 8037 (EdDSA).
"""

import uuid
import warnings
from typing import TYPE_CHECKING, Any, Final

from moltbot_agent.config import SignedToken
from moltbot_agent.sources import Unusable

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    SigningKey = ECKey | RSAKey | OKPKey

__all__ = ["RSA_BITS", "SKEW_S", "new_key", "public_jwk", "sign", "signing_key", "suitable_algorithms"]

SKEW_S: Final = 5.0
"""How far back a token is dated, since a verifier's clock may be behind; its life is that much shorter."""

RSA_BITS: Final = (2048, 8192)
"""Fewest bits of an RSA key (RFC 7518 §3.3), and most: loading a longer one takes seconds."""

_NEW_RSA_BITS: Final = 3072

_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "Ed25519": "EdDSA"}
"""The one algorithm of a key on each curve."""


def signing_key(pem: str, algorithm: str) -> "SigningKey":
    """The private key in PEM. Raises Unusable where it is none, or none for the algorithm."""
    key = _load(pem)
    able = _algorithms(key)
    if algorithm not in able:
        raise Unusable(
            f"is a key for {' or '.join(able)} and not for {algorithm}: write algorithm: {able[0]}, "
            "or give another key"
        )
    return key


def suitable_algorithms(pem: str) -> tuple[str, ...]:
    """Algorithms that the private key in PEM can sign with. Raises Unusable where it is none."""
    return _algorithms(_load(pem))


def new_key(algorithm: str) -> str:
    """A new private key for the algorithm, in PEM (PKCS #8)."""
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415

    curve = next((curve for curve, name in _CURVES.items() if name == algorithm), None)
    if curve is None:
        return RSAKey.generate_key(_NEW_RSA_BITS).as_pem(private=True).decode()
    key = OKPKey.generate_key("Ed25519") if algorithm == "EdDSA" else ECKey.generate_key(curve)
    return key.as_pem(private=True).decode()


def public_jwk(pem: str, algorithm: str) -> dict[str, Any]:
    """The public half as a JWK with `kid`, `alg` and `use` (RFC 7517). Raises Unusable."""
    key = signing_key(pem, algorithm)
    return {**key.as_dict(private=False), "kid": key.thumbprint(), "alg": algorithm, "use": "sig"}


def sign(key: "SigningKey", wanted: SignedToken, now: float) -> tuple[str, float]:
    """A token and its life in seconds from `now` (seconds since the epoch) on.

    Claims iss, sub, aud, iat, exp and a jti of its own; the header names the algorithm and the key, by its
    thumbprint.
    """
    from joserfc import jwt  # noqa: PLC0415
    from joserfc.errors import SecurityWarning  # noqa: PLC0415

    issued = int(now - SKEW_S)
    expires = issued + int(wanted.ttl_s)
    claims = {
        "iss": wanted.issuer,
        "sub": wanted.subject,
        "aud": wanted.audience,
        "iat": issued,
        "exp": expires,
        "jti": str(uuid.uuid4()),
    }
    header = {"alg": wanted.algorithm, "typ": "JWT", "kid": key.thumbprint()}
    with warnings.catch_warnings():
        # RFC 9864 renames EdDSA to Ed25519, which verifiers do not know yet.
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode(header, claims, key, algorithms=[wanted.algorithm]), expires - now


def _load(pem: str) -> "SigningKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415

    if "PRIVATE KEY-----" not in pem:
        what = "holds a public key or a certificate" if "-----BEGIN" in pem else "is no PEM"
        raise Unusable(f"{what}; put a private key in PEM into the Secret")
    try:
        loaded = load_pem_private_key(pem.encode(), None)
    except TypeError:
        raise Unusable("is encrypted; put the key without a passphrase into the Secret") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("is no private key in PEM that can be read; replace it") from None
    match loaded:
        case ec.EllipticCurvePrivateKey() if loaded.curve.name in {"secp256r1", "secp384r1"}:
            return ECKey(loaded, loaded)
        case ed25519.Ed25519PrivateKey():
            return OKPKey(loaded, loaded)
        case rsa.RSAPrivateKey() if RSA_BITS[0] <= loaded.key_size <= RSA_BITS[1]:
            return RSAKey(loaded, loaded)
        case rsa.RSAPrivateKey():
            low, high = RSA_BITS
            raise Unusable(f"is an RSA key of {loaded.key_size} bits; give one of {low} to {high}")
    raise Unusable("is of a kind that can't be used; give a key on P-256, P-384 or Ed25519, or an RSA key")


def _algorithms(key: "SigningKey") -> tuple[str, ...]:
    curve = getattr(key, "curve_name", None)
    return ("RS256", "PS256") if curve is None else (_CURVES[curve],)
