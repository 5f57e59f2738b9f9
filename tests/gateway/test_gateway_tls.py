"""TLS to backends: whose certificate is taken, and what happens when it is not."""

import ssl

import pytest
from certificates import Authority
from gateway_bed import backend, route, rule, serving
from moltbot_provider import Provider

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
QUICK = {"backoff": {"base": "1ms", "max": "5ms"}, "perTryTimeout": "20s"}


@pytest.fixture(scope="module")
def corp():
    return Authority()


def trusting(pem):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "corp-ca"}, "data": {"ca.crt": pem}}


def endpoint(provider, **tls):
    return {"url": provider.url, "tls": {"caRef": {"name": "corp-ca"}, **tls}}


async def ask(provider, tmp_path, pem, *others, **tls):
    """One request to the provider, with these as fallbacks; the answer."""
    objects = [
        route(rule("all", ["a"], [other.name for other in others], failover=QUICK)),
        *backend("a", "", endpoint=endpoint(provider, **tls)),
        *[each for other in others for each in backend(other.name, other.url)],
        trusting(pem),
    ]
    async with serving(*objects, folder=tmp_path) as bed:
        return await bed.chat()


async def test_a_certificate_of_the_private_ca_for_the_address_is_taken(corp, tmp_path):
    context = corp.context(tmp_path, "127.0.0.1")
    async with Provider(ssl_context=context) as provider:
        answer = await ask(provider, tmp_path, corp.pem)
    assert answer.status_code == 200


async def test_an_ip_v6_address_in_the_certificate_is_taken(corp, tmp_path):
    async with Provider(ssl_context=corp.context(tmp_path, "::1"), host="::1") as provider:
        objects = [
            route(rule("all", ["a"], failover=QUICK)),
            *backend("a", f"https://[::1]:{provider.port}", endpoint=None),
            trusting(corp.pem),
        ]
        objects[1]["spec"]["endpoint"] = {
            "url": f"https://[::1]:{provider.port}",
            "tls": {"caRef": {"name": "corp-ca"}},
        }
        async with serving(*objects, folder=tmp_path) as bed:
            answer = await bed.chat()
    assert answer.status_code == 200


async def test_tls_1_2_is_enough(corp, tmp_path):
    context = corp.context(tmp_path, "127.0.0.1", newest=ssl.TLSVersion.TLSv1_2)
    async with Provider(ssl_context=context) as provider:
        assert (await ask(provider, tmp_path, corp.pem)).status_code == 200


async def test_server_name_is_asked_for_and_expected(corp, tmp_path):
    asked = []
    context = corp.context(tmp_path, "models.corp")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with Provider(ssl_context=context) as provider:
        answer = await ask(provider, tmp_path, corp.pem, serverName="models.corp")
    assert (answer.status_code, asked) == (200, ["models.corp"])


@pytest.mark.parametrize(
    "wrong", ["other name", "other address", "expired", "other authority", "public authorities", "TLS 1.1"]
)
async def test_what_is_wrong_with_a_certificate_is_refused_and_the_next_backend_serves(corp, tmp_path, wrong):
    trusted, tls = corp.pem, {}
    match wrong:
        case "other name":
            context = corp.context(tmp_path, "other.corp", "*.other.corp")
            tls = {"serverName": "models.corp"}
        case "other address":
            context = corp.context(tmp_path, "127.0.0.2")
        case "expired":
            context = corp.context(tmp_path, "127.0.0.1", expired=True)
        case "other authority":
            context = Authority("corp").context(tmp_path, "127.0.0.1")
        case "public authorities":
            context = corp.context(tmp_path, "127.0.0.1")
            tls = {"caRef": None}
        case "TLS 1.1":
            context = corp.context(tmp_path, "127.0.0.1", newest=ssl.TLSVersion.TLSv1_1)
    async with Provider(name="a", ssl_context=context) as provider, Provider(name="b") as b:
        alone = await ask(provider, tmp_path, trusted, **tls)
        spared = await ask(provider, tmp_path, trusted, b, **tls)
    assert not provider.requests
    assert (alone.status_code, alone.json()["error"]["code"]) == (503, "backend_unavailable")
    assert (spared.status_code, spared.headers["x-moltbot-backend"]) == (200, "b")
    assert spared.headers["x-moltbot-attempts"] == "2"
