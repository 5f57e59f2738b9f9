"""Signing keys made here, Secrets that others fill, and the verification of both at a backend."""

import ssl

import pytest
from certificates import Authority
from given import UID, Objects, backend, issuers, webhook
from moltbot_issuer import Issuer
from moltbot_provider import Provider
from moltbot_provider.verify import SignedTokens

from moltbot_agent.signing import public_jwk
from moltbot_operator.errors import InvalidInput, NothingHappened, NotOurs, Refused
from moltbot_operator.rotation import Credential, Found, tag_of

TAG = tag_of(UID, "2")
CLAIMS = {"issuer": "moltbot", "subject": "gateway", "audience": "models"}


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_a_signing_key_is_tried_with_a_token_that_it_signed(algorithm):
    auth = {"type": "JWT", "jwt": {**CLAIMS, "algorithm": algorithm, "signingKey": {"managed": True}}}
    verify = SignedTokens([], **CLAIMS)
    async with Provider(verify=verify) as provider:
        spec = backend(provider.url, {"type": "ManagedKey"}, auth)
        client = await issuers().open(spec, "models", Objects())
        made, other = await client.create(TAG), await client.create(TAG)
        assert made.value != other.value
        assert "PRIVATE KEY" not in repr(made)
        verify.keys = [public_jwk(other.value, algorithm)]
        with pytest.raises(Refused, match="refuses the credential"):
            await client.verify(made)
        verify.keys.append(public_jwk(made.value, algorithm))
        assert verify.keys[1]["kid"] == made.id
        await client.verify(made)
        await client.revoke(made)


async def test_an_external_secret_is_tried_and_never_made_or_revoked(issuer, provider):
    key = issuer.keys.make("by a person")
    spec = backend(provider.url + "/v1", {"type": "External"})
    client = await issuers().open(spec, "models", Objects())
    await client.verify(Credential("", "", key.value))
    for known in (Credential("", "", key.value), Found("x", TAG)):
        with pytest.raises(NotOurs, match="was made outside"):
            await client.revoke(known)
    with pytest.raises(Refused, match="change the value of the Secret"):
        await client.create(TAG)
    with pytest.raises(Refused):
        await client.verify(Credential("", "", "sk-wrong"))
    assert issuer.valid() == [key]


async def test_what_a_spec_refers_to_must_be_there(issuer):
    spec = backend("https://a.example", {"type": "Webhook", "webhook": webhook("openai", issuer.url)})
    with pytest.raises(InvalidInput, match="Secret admin does not exist"):
        await issuers().open(spec, "models", Objects())


async def test_private_certificates_are_taken_by_their_ca_only(tmp_path):
    authority, another = Authority(), Authority("another")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue(tmp_path, "127.0.0.1"))
    async with (
        Issuer(ssl_context=context) as issuer,
        Provider(verify=issuer.verify, ssl_context=context) as p,
    ):
        endpoint = {"url": p.url, "tls": {"caRef": {"name": "corp"}}}
        given = {"type": "Webhook", "webhook": webhook("generic", issuer.url)}
        spec = backend(p.url, given, endpoint=endpoint)
        client = await issuers().open(spec, "models", Objects(admin=issuer.admin_key, corp=authority.pem))
        await client.verify(await client.create(TAG))
        client = await issuers().open(spec, "models", Objects(admin=issuer.admin_key, corp=another.pem))
        for call in (client.create(TAG), client.verify(Credential("", "", "sk"))):
            with pytest.raises(NothingHappened, match="certificate is not trusted"):
                await call
        assert issuer.count() == {"create": 1}
        with pytest.raises(InvalidInput, match="no certificates in PEM"):
            await issuers().open(spec, "models", Objects(admin=issuer.admin_key, corp="nonsense"))
