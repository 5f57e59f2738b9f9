"""Keys that sign, and the tokens that they sign, checked by the library's own verification."""

import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from joserfc import jwt
from joserfc.jwk import KeySet, thumbprint

from moltbot_agent.config import SignedToken
from moltbot_agent.signing import new_key, public_jwk, sign, signing_key, suitable_algorithms
from moltbot_agent.sources import Unusable

ALGORITHMS = ["ES256", "ES384", "RS256", "PS256", "EdDSA"]


def wanted(algorithm, ttl_s=60.0) -> SignedToken:
    return SignedToken(issuer="i", subject="s", audience="a", algorithm=algorithm, ttl_s=ttl_s)


def pem_of(key, password=None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption
    ).decode()


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_made_key_signs_what_its_published_half_verifies(algorithm):
    pem = new_key(algorithm)
    jwk = public_jwk(pem, algorithm)
    assert not {"d", "p", "q"} & set(jwk)
    now = time.time()
    token, life_s = sign(signing_key(pem, algorithm), wanted(algorithm), now)
    found = jwt.decode(token, KeySet.import_key_set({"keys": [jwk]}), algorithms=[algorithm])
    assert found.header == {"alg": algorithm, "typ": "JWT", "kid": jwk["kid"]}
    members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
    assert jwk["kid"] == thumbprint(members)
    claims = found.claims
    assert {name: claims[name] for name in ("iss", "sub", "aud")} == {"iss": "i", "sub": "s", "aud": "a"}
    assert claims["exp"] - claims["iat"] == 60
    assert now - 7 < claims["iat"] <= now
    assert claims["exp"] == pytest.approx(now + life_s)
    again, _ = sign(signing_key(pem, algorithm), wanted(algorithm), now)
    keys = KeySet.import_key_set({"keys": [jwk]})
    assert jwt.decode(again, keys, algorithms=[algorithm]).claims["jti"] != claims["jti"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_of_another_kind_is_named(algorithm):
    pem = new_key("ES384" if algorithm == "ES256" else "ES256")
    if algorithm == "ES384":
        pem = new_key("EdDSA")
    able = suitable_algorithms(pem)[0]
    with pytest.raises(Unusable, match=f"a key for {able} and not for {algorithm}: write algorithm: {able}"):
        signing_key(pem, algorithm)


@pytest.mark.parametrize(
    ("pem", "told"),
    [
        ("hello", "no PEM"),
        ("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", "certificate"),
        ("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----", "can be read"),
        (pem_of(ec.generate_private_key(ec.SECP256R1()), b"x"), "encrypted"),
        (pem_of(ec.generate_private_key(ec.SECP256K1())), "of a kind"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "1024 bits"),  # noqa: S505
        (pem_of(dsa.generate_private_key(1024)), "of a kind"),  # noqa: S505
    ],
)
def test_what_can_not_sign_is_named_and_never_quoted(pem, told):
    with pytest.raises(Unusable, match=told) as unusable:
        signing_key(pem, "ES256")
    assert "MII" not in str(unusable.value)


def test_keys_in_older_forms_are_read():
    assert suitable_algorithms(pem_of(ec.generate_private_key(ec.SECP384R1()))) == ("ES384",)
    assert suitable_algorithms(pem_of(rsa.generate_private_key(65537, 2048))) == ("RS256", "PS256")
