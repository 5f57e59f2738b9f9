"""Which keys of a JWKS may verify tokens, and how they reach Envoy."""

import base64
import json
import os
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from moltbot_agent.config import IssuerKeys, Verifier
from moltbot_agent.files import write_if_different
from moltbot_agent.jwks import LARGEST_JWKS, usable_jwks
from moltbot_agent.sources import Unusable
from moltbot_agent.verifier import VerifierDelivery, verifier_resource

RSA = RSAKey.generate_key(2048).as_dict(private=False)
EC = ECKey.generate_key("P-256").as_dict(private=False)
EDWARDS = OKPKey.generate_key("Ed25519").as_dict(private=False)


def jwks(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(256)).decode().rstrip("=")


@pytest.mark.parametrize(
    "key",
    [
        RSA,
        EC,
        EDWARDS,
        {**RSA, "alg": "PS512", "use": "sig", "kid": "a"},
        ECKey.generate_key("P-521").as_dict(private=False),
        {**EC, "alg": "ES256"},
        {**EDWARDS, "alg": "EdDSA", "x5t": "more"},
    ],
)
def test_public_keys_are_used(key: dict[str, str]) -> None:
    text, problems = usable_jwks(jwks(key))
    assert problems == []
    (used,) = json.loads(text)["keys"]
    assert used.items() <= key.items()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ([], "no object"),
        ({}, "kind"),
        (OctKey.generate_key(256).as_dict(private=True), "not public"),
        ({"kty": "oct"}, "kind"),
        (RSAKey.generate_key(2048).as_dict(private=True), "not public"),
        ({**RSA, "use": "enc"}, "not for signatures"),
        ({**RSA, "alg": "HS256"}, "algorithm"),
        ({**RSA, "alg": "none"}, "algorithm"),
        ({**RSA, "alg": 3}, "strings"),
        ({**RSA, "n": number(2**1023 + 1)}, "bits long"),
        ({**RSA, "n": number(2**2047)}, "no RSA key's"),
        ({**RSA, "e": "AQ"}, "no RSA key's"),
        ({**RSA, "n": "*"}, "lacks n and e"),
        ({**EC, "alg": "ES384"}, "algorithm"),
        ({**EC, "crv": "secp256k1"}, "curve"),
        ({**EC, "y": EC["x"]}, "no point"),
        ({**EC, "y": ""}, "lacks x and y"),
        ({**EDWARDS, "x": "AAAA"}, "32 bytes"),
        ({**EDWARDS, "crv": "X25519"}, "curve"),
    ],
)
def test_other_keys_are_left_out_and_named(key: object, said: str) -> None:
    text, problems = usable_jwks(jwks(key, EC))
    assert [each["kty"] for each in json.loads(text)["keys"]] == ["EC"]
    assert len(problems) == 1
    assert said in problems[0]
    assert problems[0].startswith("keys[0] ")
    with pytest.raises(Unusable, match="no key that can verify tokens"):
        usable_jwks(jwks(key))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"x"', b'{"keys": {}}', b"\xff", b'{"keys": []}', b" " * (LARGEST_JWKS + 1)],
)
def test_what_is_no_jwks(content: bytes) -> None:
    with pytest.raises(Unusable):
        usable_jwks(content)


@pytest.fixture
def tokens(tmp_path: Path) -> Verifier:
    nowhere = {"remote_jwks": {"http_uri": {"uri": "http://none"}}}
    return Verifier(
        target=tmp_path / "run" / "tokens.json",
        resource="tokens",
        keys=(IssuerKeys(provider="one", consumer="web", source=tmp_path / "jwks" / "keys.json"),),
        template={"providers": {"one": {"issuer": "i", **nowhere}, "two": {"issuer": "j", **nowhere}}},
    )


def providers(tokens: Verifier) -> dict[str, dict[str, object]]:
    (resource,) = json.loads(tokens.target.read_bytes())["resources"]
    return resource["typed_config"]["providers"]


def test_keys_take_the_place_of_the_address_that_leads_nowhere(tokens: Verifier) -> None:
    source = tokens.keys[0].source
    source.parent.mkdir()
    source.write_bytes(jwks(EC))
    content, problems = verifier_resource(tokens)
    assert problems == []
    (resource,) = json.loads(content)["resources"]
    one, two = resource["typed_config"]["providers"].values()
    assert json.loads(one["local_jwks"]["inline_string"])["keys"] == [EC]
    assert "remote_jwks" not in one
    assert "remote_jwks" in two
    assert "remote_jwks" in tokens.template["providers"]["one"], "the template stays as it is"


def test_a_jwks_that_comes_changes_and_goes(tokens: Verifier) -> None:
    delivery = VerifierDelivery(tokens, write_if_different)
    source = tokens.keys[0].source
    delivery.run_once()
    assert "does not exist" in delivery.problems[0]
    assert "remote_jwks" in providers(tokens)["one"]
    source.parent.mkdir()
    source.write_bytes(jwks(EC, {"kty": "oct"}))
    delivery.run_once()
    assert "keys[1]" in delivery.problems[0]
    assert "local_jwks" in providers(tokens)["one"]
    before = tokens.target.stat().st_mtime_ns
    delivery.run_once()
    assert tokens.target.stat().st_mtime_ns == before
    source.write_text("no jwks")
    delivery.run_once()
    assert "remote_jwks" in providers(tokens)["one"], "an unusable one opens no door"
    source.write_bytes(jwks(EC))
    delivery.run_once()
    assert delivery.problems == []


def test_one_that_cannot_be_read_just_now_stays_as_it_was(
    tokens: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tokens.keys[0].source
    source.parent.mkdir()
    source.write_bytes(jwks(EC))
    delivery = VerifierDelivery(tokens, write_if_different)
    delivery.run_once()
    source.write_bytes(jwks(RSA))
    opened = Path.open

    def fails(path: Path, *args: object, **more: object) -> object:
        if path == source:
            raise PermissionError(13, os.strerror(13), str(path))
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", fails)
    delivery.run_once()
    assert "the last keys stay valid" in delivery.problems[0]
    assert str(EC["x"]) in str(providers(tokens)["one"])
    tokens.target.unlink()
    delivery.run_once()
    assert "remote_jwks" in providers(tokens)["one"], "without a file Envoy would not start"
    monkeypatch.undo()
    delivery.run_once()
    assert str(RSA["n"]) in str(providers(tokens)["one"])
    assert delivery.problems == []
