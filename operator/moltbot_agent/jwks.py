"""Public keys of token issuers (JWKS, RFC 7517): which of them may verify tokens.

Only asymmetric keys do (RFC 7518 §6.2 and §6.3, RFC 8037): with a symmetric key in the set, whoever can read
it could sign. Members that are not public never go on.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from moltbot_agent.sources import Unusable

__all__ = ["ALGORITHMS", "LARGEST_JWKS", "usable_jwks"]

LARGEST_JWKS: Final = 512 * 1024
"""Bytes; a set has a few keys of some hundred bytes each."""

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_EDWARDS: Final = {"Ed25519": "EdDSA"}

ALGORITHMS: Final = (*_RSA, *_EC.values(), *_EDWARDS.values())
"""Algorithms (RFC 7518 §3.1, RFC 8037 §3.1) that a token may be signed with."""

_SHORTEST_RSA: Final = 2048
"""Bits (RFC 7518 §3.3)."""

_LONGEST_RSA: Final = 8192
"""Bits; longer ones cost more to verify with than any gateway should pay."""

_RSA_EXPONENTS: Final = (3, 2**33 - 1)
"""What BoringSSL takes."""

_ED25519_BYTES: Final = 32

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_PUBLIC: Final = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")


def usable_jwks(content: bytes) -> tuple[str, list[str]]:
    """The set with those keys that may verify tokens, and what is wrong with the others.

    Raises Unusable where it is no JWKS or no key is usable; messages never hold a value.
    """
    if len(content) > LARGEST_JWKS:
        raise Unusable(f"is longer than {LARGEST_JWKS} bytes; write only the issuer's own JWKS")
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise Unusable('is not JSON; write a JWKS, {"keys": [...]}') from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise Unusable('is no JWKS; write {"keys": [...]}, as the issuer\'s jwks_uri answers')
    used, problems = [], []
    for number, key in enumerate(keys):
        flaw = _flaw(key)
        if flaw:
            problems.append(f"keys[{number}] {flaw}")
        else:
            used.append({name: key[name] for name in _PUBLIC if name in key})
    if not used:
        why = f": {'; '.join(problems[:3])}" if problems else ""
        raise Unusable(f"has no key that can verify tokens{why}")
    return orjson.dumps({"keys": used}, option=orjson.OPT_SORT_KEYS).decode(), problems


def _flaw(key: Any) -> str:
    """Why a key can't be used; empty when it can."""
    if not isinstance(key, dict):
        return "is no object"
    if any(not isinstance(key.get(name, ""), str) for name in _PUBLIC):
        return "has members that are no strings"
    if _PRIVATE & key.keys():
        return "is not public: take it out, and treat it as known to others"
    if key.get("use", "sig") != "sig":
        return "is not for signatures (use)"
    if key.get("kty") == "RSA":
        return _flaw_rsa(key)
    return _flaw_curve(key)


def _flaw_curve(key: Mapping[str, str]) -> str:
    kinds = {"EC": (_EC, ("x", "y")), "OKP": (_EDWARDS, ("x",))}
    if key.get("kty") not in kinds:
        return "is of a kind (kty) that is none of RSA, EC and OKP"
    curves, members = kinds[key["kty"]]
    wanted = curves.get(key.get("crv", ""))
    if wanted is None:
        return f"has a curve (crv) that is none of {', '.join(curves)}"
    if key.get("alg", wanted) != wanted:
        return f"has another algorithm (alg) than {wanted}, which its curve is for"
    return _flaw_point(key, members)


def _flaw_point(key: Mapping[str, str], members: Sequence[str]) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - slow, and mostly not needed

    parts = [_bytes(key, name) for name in members]
    if not all(parts):
        return f"lacks {' and '.join(members)}"
    if key["kty"] == "OKP":
        return "" if len(parts[0]) == _ED25519_BYTES else f"has an x that is not {_ED25519_BYTES} bytes long"
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    x, y = (int.from_bytes(part) for part in parts)
    try:
        ec.EllipticCurvePublicNumbers(x, y, curves[key["crv"]]).public_key()
    except ValueError:
        return "is no point of its curve"
    return ""


def _flaw_rsa(key: Mapping[str, str]) -> str:
    if key.get("alg", _RSA[0]) not in _RSA:
        return f"has an algorithm (alg) that is none of {', '.join(_RSA)}"
    modulus, exponent = (int.from_bytes(_bytes(key, name)) for name in ("n", "e"))
    if not modulus or not exponent:
        return "lacks n and e"
    if not _SHORTEST_RSA <= modulus.bit_length() <= _LONGEST_RSA:
        return f"is not {_SHORTEST_RSA} to {_LONGEST_RSA} bits long"
    if modulus % 2 == 0 or exponent % 2 == 0 or not _RSA_EXPONENTS[0] <= exponent <= _RSA_EXPONENTS[1]:
        return "has numbers that are no RSA key's"
    return ""


def _bytes(key: Mapping[str, str], name: str) -> bytes:
    """A member in base64url (RFC 7518 §2); empty where there is none."""
    text = key.get(name, "")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
