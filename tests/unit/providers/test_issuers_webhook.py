"""Keys by admin APIs of every form, and each fault at each call."""

import pytest
from given import FORMS, UID, Objects, backend, issuers, webhook

from moltbot_operator.errors import NothingHappened, NotOurs, Refused, Unclear
from moltbot_operator.rotation import Credential, Found, tag_of, tag_prefix

TAG, PREFIX = tag_of(UID, "2"), tag_prefix(UID)
HANGING = ("hang", "hang_after")
NO_EFFECT = ("refuse", "status", "limited", "hang", "cut", "redirect")
EXPECTED = {
    # fault: (of a call that only reads, of one with effect)
    "refuse": (Refused, Refused),
    "status": (NothingHappened, Unclear),
    "limited": (NothingHappened, NothingHappened),
    "hang": (NothingHappened, Unclear),
    "hang_after": (NothingHappened, Unclear),
    "cut": (NothingHappened, Unclear),
    "lost": (NothingHappened, Unclear),
    "error_after": (NothingHappened, Unclear),
    "malformed": (NothingHappened, Unclear),
    "huge": (NothingHappened, Unclear),
    "redirect": (Refused, Refused),
}


CASES = [(form, kind) for form in FORMS for kind in EXPECTED if form == "openai" or kind not in HANGING]
"""Each fault in each form; silence, which takes its time, in one."""


def limit_of(kind):
    return 1.0 if kind in HANGING else 10.0


async def opened(form, issuer, url="http://127.0.0.1:9/v1", limit=10.0, **spec):
    given = backend(url, {"type": "Webhook", "webhook": webhook(form, issuer.url)}, **spec)
    return await issuers(limit).open(given, "models", Objects(admin=issuer.admin_key))


def assert_nothing_secret(error, issuer, *more):
    """No credential in the error, nor in what led to it as it would be logged."""
    import traceback

    text = "".join(traceback.format_exception(error)) + repr(error)
    for value in (issuer.admin_key, *(key.value for key in issuer.keys.all), *more):
        assert value not in text


@pytest.mark.parametrize("form", FORMS)
async def test_a_key_is_made_found_tried_and_revoked(form, issuer, provider):
    client = await opened(form, issuer, provider.url + "/v1")
    made = await client.create(TAG)
    assert made.tag == TAG
    assert [key.value for key in issuer.valid()] == [made.value]
    assert made.value not in repr(made)
    await client.verify(made)
    [found] = await client.find(PREFIX)
    assert found == Found(made.id, TAG)
    await client.revoke(found)
    assert issuer.valid() == []
    with pytest.raises(Refused, match="the backend refuses the credential") as refused:
        await client.verify(made)
    assert_nothing_secret(refused.value, issuer)
    await client.revoke(made)  # it knows none of this id any more
    assert await client.find(PREFIX) == ()


@pytest.mark.parametrize("form", FORMS)
async def test_every_page_is_looked_at_and_only_our_own_are_told_of(form, issuer):
    names = [f"somebody-{n}" for n in range(4)] + [tag_of(UID, str(n)) for n in range(5)]
    names += [tag_of(UID.replace("6f", "7f"), "1"), "moltbot", ""]
    for name in names:
        issuer.keys.make(name)
    client = await opened(form, issuer)
    found = await client.find(PREFIX)
    assert sorted(each.tag for each in found) == sorted(n for n in names if n.startswith(PREFIX))
    assert len({each.id for each in found}) == 5
    for each in found:
        await client.revoke(each)
    assert sorted(key.name for key in issuer.valid()) == sorted(n for n in names if not n.startswith(PREFIX))


@pytest.mark.parametrize(("form", "kind"), CASES)
async def test_a_fault_of_create_says_what_may_be_assumed(form, kind, issuer):
    client = await opened(form, issuer, limit=limit_of(kind))
    issuer.fault(kind, operation="create", retry_after="0")
    with pytest.raises(EXPECTED[kind][1]) as caught:
        await client.create(TAG)
    assert_nothing_secret(caught.value, issuer)
    issuer.clear()
    left = [each.tag for each in await client.find(PREFIX)]
    assert left == ([] if kind in NO_EFFECT else [TAG])
    if caught.type is not Unclear:
        assert left == []


@pytest.mark.parametrize(("form", "kind"), CASES)
async def test_a_fault_of_list_never_is_an_empty_list(form, kind, issuer):
    issuer.keys.make(TAG)
    client = await opened(form, issuer, limit=limit_of(kind))
    issuer.fault(kind, operation="list", retry_after="0")
    with pytest.raises(EXPECTED[kind][0]) as caught:
        await client.find(PREFIX)
    assert_nothing_secret(caught.value, issuer)


@pytest.mark.parametrize(("form", "kind"), [case for case in CASES if case[1] != "malformed"])
async def test_a_fault_of_revoke_is_not_taken_for_a_revocation(form, kind, issuer):
    client = await opened(form, issuer, limit=limit_of(kind))
    made = await client.create(TAG)
    issuer.fault(kind, operation="revoke", retry_after="0")
    with pytest.raises(EXPECTED[kind][1]) as caught:
        await client.revoke(made)
    assert_nothing_secret(caught.value, issuer)
    issuer.clear()
    await client.revoke(made)
    assert issuer.valid() == []


@pytest.mark.parametrize("form", FORMS)
async def test_a_server_that_is_not_there_had_no_effect(form, issuer):
    client = await opened(form, issuer)
    await issuer.stop()
    for call in (client.find(PREFIX), client.create(TAG), client.revoke(Found("key_1", TAG))):
        with pytest.raises(NothingHappened, match="can't be reached"):
            await call


async def test_a_wrong_admin_credential_is_named_with_the_field_to_look_at(issuer):
    client = await opened("openrouter", issuer)
    issuer.admin_key = "another"
    with pytest.raises(Refused, match=r"answered 401; check .*rotation\.issuer\.webhook\.secretRef"):
        await client.create(TAG)


async def test_a_limited_host_is_left_alone_as_long_as_it_asks(issuer):
    now = [0.0]
    made = issuers(clock=lambda: now[0])
    given = backend("http://127.0.0.1:9/v1", {"type": "Webhook", "webhook": webhook("generic", issuer.url)})
    client = await made.open(given, "models", Objects(admin=issuer.admin_key))
    issuer.fault("limited", retry_after="30", count=1)
    with pytest.raises(NothingHappened) as limited:
        await client.find(PREFIX)
    assert limited.value.retry_after.total_seconds() == 30
    with pytest.raises(NothingHappened, match="wait for their turn") as waiting:
        await client.find(PREFIX)
    assert waiting.value.retry_after.total_seconds() == 30
    assert issuer.count() == {"list": 1}
    now[0] = 30.0
    assert await client.find(PREFIX) == ()


async def test_an_answer_without_the_key_is_unclear_and_its_orphan_is_found(issuer):
    client = await opened("openrouter", issuer)
    issuer.fault("without_value", operation="create")
    with pytest.raises(Unclear, match="without a key at valuePath"):
        await client.create(TAG)
    assert [each.tag for each in await client.find(PREFIX)] == [TAG]


async def test_a_slow_issuer_is_waited_for(issuer):
    client = await opened("openai", issuer)
    issuer.fault("slow", seconds=0.3)
    assert (await client.create(TAG)).value == issuer.valid()[0].value


async def test_a_second_key_of_a_name_that_litellm_knows_is_refused(issuer):
    client = await opened("litellm", issuer)
    await client.create(TAG)
    with pytest.raises(Refused, match="answered 400 bad_request_error"):
        await client.create(TAG)


async def test_a_key_that_a_person_made_is_not_ours_to_revoke(issuer):
    client = await opened("openai", issuer)
    with pytest.raises(NotOurs, match="by hand"):
        await client.revoke(Credential(id="", tag="", value="sk-by-hand"))
    assert not issuer.calls


async def test_client_secrets_come_from_admin_apis_too(issuer, provider, identity):
    auth = {"oauth2": {"tokenUrl": identity.token_url, "clientId": "gateway"}, "type": "OAuth2"}
    auth["oauth2"]["clientSecretRef"] = {"name": "key", "key": "key"}
    client = await opened("generic", issuer, provider.url, auth=auth)
    made = await client.create(TAG)
    with pytest.raises(Refused, match="invalid_client") as refused:
        await client.verify(made)
    assert_nothing_secret(refused.value, issuer)
    identity.set_client("gateway", "another", made.value)
    await client.verify(made)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("hang", NothingHappened), ("status", NothingHappened), ("refuse", NothingHappened)],
)
async def test_a_backend_that_can_not_tell_is_no_refusal(kind, expected, issuer, provider):
    client = await opened("openai", issuer, provider.url + "/v1", limit=limit_of(kind))
    made = await client.create(TAG)
    await provider.fault(kind)
    with pytest.raises(expected) as caught:
        await client.verify(made)
    assert_nothing_secret(caught.value, issuer)


async def test_a_backend_without_a_model_list_can_not_tell(issuer, provider):
    client = await opened("openai", issuer, provider.url + "/v1")
    await provider.fault("status", status=404)
    with pytest.raises(NothingHappened, match="does not tell whether the credential is taken"):
        await client.verify(await client.create(TAG))


async def test_a_key_that_has_yet_to_spread_is_tried_again(issuer, provider):
    client = await opened("openai", issuer, provider.url + "/v1")
    made = await client.create(TAG)
    await provider.fault("status", status=401, count=2)
    await client.verify(made)


async def test_the_operators_own_node_is_not_called(issuer):
    from moltbot_operator.providers.issuers import Issuers

    given = {"type": "Webhook", "webhook": webhook("generic", issuer.url)}
    for host in ("127.0.0.1", "localhost", "169.254.169.254", "[::ffff:127.0.0.1]", "0x7f.1"):
        text = given["webhook"]
        moved = {
            key: {**value, "url": value["url"].replace("127.0.0.1", host)} if "url" in value else value
            for key, value in text.items()
        }
        client = await Issuers().open(
            backend("https://api.example.com", {**given, "webhook": moved}),
            "models",
            Objects(admin=issuer.admin_key),
        )
        with pytest.raises((Refused, NothingHappened)):
            await client.find(PREFIX)
    assert not issuer.calls
