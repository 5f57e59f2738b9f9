"""HTTPS for clients: which certificate they are shown, before and after it is renewed."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
from certificates import Authority
from gateway_bed import backend, route, rule, secret, serving, until
from moltbot_provider import Provider

from moltbot_operator.errors import InvalidInput

TLS = {"tls": {"secretRef": {"name": "shown"}}}


@pytest.fixture(scope="module")
def corp():
    return Authority()


def trusting(authority):
    return ssl.create_default_context(cadata=authority.pem)


def pair(authority, folder, **more):
    chain, key = (Path(file).read_text() for file in authority.issue(folder, "127.0.0.1", **more))
    return {"tls.crt": chain, "tls.key": key}


def objects(provider, shown):
    return [
        route(rule("all", ["a"]), gateway=TLS),
        *backend("a", provider.url),
        *([secret("shown", **shown)] if shown else []),
    ]


async def test_clients_are_served_over_https_alone(corp, tmp_path):
    async with (
        Provider() as provider,
        serving(*objects(provider, pair(corp, tmp_path)), folder=tmp_path, verify=trusting(corp)) as bed,
    ):
        assert (await bed.chat()).status_code == 200
        plain = bed.running.url.replace("https://", "http://")
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.HTTPError):
                await client.get(f"{plain}/v1/models")
        url = httpx.URL(bed.running.url)
        for offered in (["h2", "http/1.1"], ["http/1.1"]):
            context = trusting(corp)
            context.set_alpn_protocols(offered)
            assert await spoken(url.host, url.port, context) == offered[0]


async def spoken(host, port, context):
    """What is agreed on in the handshake."""
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    writer.close()
    return writer.get_extra_info("ssl_object").selected_alpn_protocol()


async def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not(corp, tmp_path):
    other = Authority("other")
    async with (
        Provider() as provider,
        serving(*objects(provider, pair(corp, tmp_path)), folder=tmp_path, verify=trusting(corp)) as bed,
    ):
        source = bed.running.compiled.agent.certificate.source
        (source / "tls.crt").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
        async with httpx.AsyncClient(verify=trusting(corp)) as client:
            assert (await client.get(f"{bed.running.url}/v1/models")).status_code == 200
        renewed = pair(other, tmp_path)
        for name, value in renewed.items():  # the key of one and the certificate of another, for a moment
            (source / name).write_text(value)

        async def shown() -> bool:
            try:
                async with httpx.AsyncClient(verify=trusting(other)) as client:
                    return (await client.get(f"{bed.running.url}/v1/models")).status_code == 200
            except httpx.ConnectError:
                return False

        await until(shown)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: {}, "tls.crt is in none of the files"),
        (lambda found: {"tls.crt": found["tls.crt"]}, "tls.key is in none of the files"),
        (lambda found: {**found, "tls.crt": "none"}, "has no certificate in PEM"),
        (lambda found: {**found, "tls.key": "none"}, "has no unencrypted private key"),
    ],
)
async def test_a_gateway_without_a_usable_certificate_is_not_started(corp, tmp_path, change, says):
    async with Provider() as provider:
        given = objects(provider, change(pair(corp, tmp_path)))
        with pytest.raises(InvalidInput, match=says):
            async with serving(*given, folder=tmp_path):
                pass


async def test_a_key_of_another_certificate_is_refused(corp, tmp_path):
    async with Provider() as provider:
        mixed = {**pair(corp, tmp_path), "tls.key": pair(Authority(), tmp_path)["tls.key"]}
        with pytest.raises(InvalidInput, match="is not the key of the first certificate"):
            async with serving(*objects(provider, mixed), folder=tmp_path):
                pass
