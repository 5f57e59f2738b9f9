"""Client credentials: what is asked, what is taken for a token, and what of it is ever said."""

import asyncio
import base64
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moltbot_identity import Identity

from moltbot_agent.config import Credential, FetchedToken
from moltbot_agent.fetching import Fetcher
from moltbot_agent.oauth2 import DEFAULT_LIFE_S, Refused, client_of, grant, token_request
from moltbot_agent.tokens import Issuance

GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 60}


def wanted(url="https://login.example/token", **more) -> FetchedToken:
    return FetchedToken(url=url, client_id="gate way", ca=Path("/nowhere"), **more)


def granted(status=200, headers=None, **changes):
    document = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return grant(status, headers or {}, json.dumps(document).encode())


def test_basic_is_the_default_and_encoded():
    request = token_request(wanted(scopes=("a", "b"), audience="x"), "s:ü +")
    scheme, _, pair = request.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"gate%20way:s%3A%C3%BC%20%2B")
    form = parse_qs(request.body.decode())
    assert form == {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["x"]}
    assert "s%3A" not in repr(request)


def test_post_puts_the_secret_into_the_body_alone():
    request = token_request(wanted(authentication="ClientSecretPost"), "s&ü")
    assert "authorization" not in request.headers
    assert parse_qs(request.body.decode())["client_secret"] == ["s&ü"]


def test_a_client_that_was_registered_brings_its_identifier():
    source = '{"client_id": "abc", "client_secret": "s3cret"}'
    request = token_request(wanted(authentication="ClientSecretPost"), source)
    assert b"client_id=abc&client_secret=s3cret" in request.body
    for plain in ("{not json", '{"client_id": 1, "client_secret": "x"}', "s3cret"):
        assert client_of(wanted(), plain) == ("gate way", plain)


def test_a_grant():
    assert granted().token == "abc"
    assert granted(token_type="bEaReR").life_s == 60.0
    assert granted(expires_in="3600").life_s == 3600.0
    assert granted(expires_in=...).life_s == DEFAULT_LIFE_S
    assert granted(expires_in=10**400).life_s == 365 * 24 * 3600.0
    assert "abc" not in repr(granted())


@pytest.mark.parametrize(
    "changes",
    [
        {"token_type": "mac"},
        {"token_type": ...},
        {"token_type": ["Bearer"]},
        {"access_token": ...},
        {"access_token": ""},
        {"access_token": 5},
        {"access_token": "a b"},
        {"access_token": "a\r\nx-evil: 1"},
        {"access_token": "ü"},
        {"access_token": "a" * 20_000},
        {"expires_in": 0},
        {"expires_in": -5},
        {"expires_in": True},
        {"expires_in": 3.5},
        {"expires_in": "soon"},
        {"expires_in": [60]},
    ],
)
def test_what_is_no_token_is_refused_without_repeating_it(changes):
    with pytest.raises(Refused) as refused:
        granted(**changes)
    assert "evil" not in str(refused.value)
    assert "abc" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"abc"', b"[" * 60_000, b" " * 70_000])
def test_what_is_no_document_is_refused(body):
    with pytest.raises(Refused):
        grant(200, {}, body)


def test_a_refusal_says_the_code_and_nothing_else():
    with pytest.raises(Refused, match="401 invalid_client; check clientId") as refused:
        granted(401, error="invalid_client", error_description="secret s3cret is wrong")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(Refused) as refused:
        granted(400, error="s3cret!")
    assert str(refused.value) == "answered 400"
    with pytest.raises(Refused, match="redirect"):
        granted(302)
    with pytest.raises(Refused) as refused:
        granted(503, {"retry-after": "7"})
    assert refused.value.retry_after_s == 7.0


async def refusal(request: FetchedToken, secret="s", timeout_s=1.0) -> str:  # noqa: S107
    fetcher = Fetcher([], lambda: None)
    with pytest.raises(Refused) as refused:
        await fetcher._fetch(request, secret, timeout_s)
    return str(refused.value)


@pytest.mark.parametrize("authentication", ["ClientSecretBasic", "ClientSecretPost"])
async def test_a_real_server_grants(authentication):
    async with Identity({"gate way": "s:ü +&%"}, life=30) as identity:
        request = wanted(identity.token_url, authentication=authentication, audience="a")
        found = await Fetcher([], lambda: None)._fetch(request, "s:ü +&%", 5)
        assert identity.verify(f"Bearer {found.token}") is None
        assert identity.issued(found.token).audience == "a"
        assert "invalid_client" in await refusal(request, "wrong")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("hang", "did not answer within 1 s"),
        ("status", "answered 503"),
        ("malformed", "no JSON object"),
        ("wrong_type", "token_type"),
        ("bad_token", "header can carry"),
        ("bad_expiry", "expires_in"),
        ("huge", "more than"),
    ],
)
async def test_faults_of_a_real_server(kind, told):
    async with Identity({"gate way": "s"}) as identity:
        await identity.fault(kind)
        assert told in await refusal(wanted(identity.token_url))


async def test_a_redirect_is_not_followed():
    async with Identity({"gate way": "s"}) as identity, Identity({"gate way": "s"}) as elsewhere:
        await identity.fault("redirect", location=elsewhere.token_url)
        assert "redirect" in await refusal(wanted(identity.token_url))
        assert not elsewhere.calls


async def test_nobody_there():
    async with Identity({}) as identity:
        url = identity.token_url
    assert "can't be reached" in await refusal(wanted(url))


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of its own for 127.0.0.1, and the same as a CA bundle."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    import ipaddress

    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file, private = folder / f"{name}.crt", folder / f"{name}.key"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, private)
    return context, file


async def test_the_endpoints_certificate_is_verified(tmp_path):
    context, file = certificate(tmp_path, "idp")
    _, other = certificate(tmp_path, "other")
    bundle = tmp_path / "ca.crt"
    bundle.write_bytes(other.read_bytes())
    async with Identity({"gate way": "s"}, ssl_context=context) as identity:
        request = FetchedToken(url=identity.token_url, client_id="gate way", ca=bundle)
        fetcher = Fetcher([], lambda: None)
        with pytest.raises(Refused, match="not trusted"):
            await fetcher._fetch(request, "s", 5)
        assert not identity.calls
        bundle.write_bytes(file.read_bytes())  # a bundle that is replaced is used
        assert (await fetcher._fetch(request, "s", 5)).token
        by_name = FetchedToken(
            url=identity.token_url.replace("127.0.0.1", "localhost"), client_id="gate way", ca=bundle
        )
        with pytest.raises(Refused, match="not trusted"):
            await fetcher._fetch(by_name, "s", 5)
    bundle.write_text("junk")
    with pytest.raises(Refused, match="no CA certificates"):
        await fetcher._fetch(request, "s", 5)


async def test_one_endpoint_that_hangs_holds_up_no_other_and_a_new_secret_is_used_at_once(tmp_path):
    async with Identity({"gate way": "new"}) as slow, Identity({"gate way": "s"}) as quick:
        await slow.fault("hang")
        issuances = []
        for name, identity in (("slow", slow), ("quick", quick)):
            source = tmp_path / name
            source.write_text("s")
            credential = Credential(
                name=name,
                backend=name,
                source=source,
                target=tmp_path / "t",
                token=wanted(identity.token_url),
            )
            issuances.append(Issuance(credential, (name,)))
        done = asyncio.Event()
        fetcher = Fetcher(issuances, done.set)
        for issuance in issuances:
            issuance.look()
        fetcher.start_due()
        await asyncio.wait_for(done.wait(), 5)
        assert [issuance.token is not None for issuance in issuances] == [False, True]
        await slow.clear()
        done.clear()
        (tmp_path / "slow").write_text("new")
        issuances[0].look()
        fetcher.start_due()
        await asyncio.wait_for(done.wait(), 5)
        assert issuances[0].token is not None
        assert issuances[0].known_source == "new"
        fetcher.start_due()
        await fetcher.stop()
        assert len(quick.calls) == 1
