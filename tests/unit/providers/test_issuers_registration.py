"""Clients that register themselves at a real OAuth 2.0 server, and each fault at each call."""

import json
import time
import traceback
from dataclasses import replace

import pytest
from given import UID, Objects, issuers, registering

from moltbot_operator.errors import NothingHappened, NotOurs, Refused, Unclear
from moltbot_operator.rotation import Credential, Found, tag_of

TAG = tag_of(UID, "2")


async def opened(identity, limit=10.0, **oauth2):
    given = registering("http://127.0.0.1:9/v1", identity, **oauth2)
    return await issuers(limit).open(given, "models", Objects(initial="initial-s3cret"))


def assert_nothing_secret(error, identity):
    text = "".join(traceback.format_exception(error)) + repr(error)
    for value in ("initial-s3cret", *filter(None, identity.registration.values)):
        assert value not in text


@pytest.mark.parametrize("way", ["ClientSecretBasic", "ClientSecretPost"])
async def test_a_client_is_registered_tried_and_deleted(way, identity):
    client = await opened(identity, clientAuthentication=way, scopes=["models.read"], audience="models")
    made = await client.create(TAG)
    [registered] = identity.registration.registered()
    assert registered.metadata["client_name"] == TAG
    assert json.loads(made.value) == {"client_id": made.id, "client_secret": registered.secrets[0]}
    assert registered.secrets[0] not in repr(made)
    assert made.not_after is None
    await client.verify(made)
    assert (identity.calls[-1].scope, identity.calls[-1].audience) == ("models.read", "models")
    assert await client.find("moltbot-") == ()
    await client.revoke(made)
    assert identity.registration.registered() == []
    await client.revoke(made)  # the server answers that it knows no such token
    with pytest.raises(Refused, match="invalid_client") as refused:
        await client.verify(made)
    assert_nothing_secret(refused.value, identity)


async def test_two_clients_are_valid_through_the_overlap(identity):
    client = await opened(identity)
    first, second = await client.create(TAG), await client.create(tag_of(UID, "3"))
    await client.verify(first)
    await client.verify(second)
    await client.revoke(first)
    await client.verify(second)
    assert [each.client_id for each in identity.registration.registered()] == [second.id]


async def test_a_secret_that_expires_says_when(identity):
    identity.registration.secret_life = 3600
    made = await (await opened(identity)).create(TAG)
    assert abs(made.not_after.timestamp() - time.time() - 3600) < 60


CREATE = {
    "refuse": Refused,
    "redirect": Refused,
    "limited": NothingHappened,
    "status": Unclear,
    "hang": Unclear,
    "hang_after": Unclear,
    "cut": Unclear,
    "lost": Unclear,
    "error_after": Unclear,
    "malformed": Unclear,
    "huge": Unclear,
    "without_value": Unclear,
}


@pytest.mark.parametrize("kind", CREATE)
async def test_a_fault_of_registration_says_what_may_be_assumed(kind, identity):
    client = await opened(identity, limit=1.0 if kind.startswith("hang") else 10.0)
    identity.registration.fault(kind, operation="register")
    with pytest.raises(CREATE[kind]) as caught:
        await client.create(TAG)
    assert_nothing_secret(caught.value, identity)
    if caught.type is not Unclear:
        assert identity.registration.registered() == []


@pytest.mark.parametrize("kind", ["limited", "status", "hang", "hang_after", "cut", "lost", "error_after"])
async def test_a_fault_of_deletion_is_not_taken_for_a_deletion(kind, identity):
    client = await opened(identity, limit=1.0 if kind.startswith("hang") else 10.0)
    made = await client.create(TAG)
    identity.registration.fault(kind, operation="delete", retry_after="0")
    with pytest.raises(NothingHappened if kind == "limited" else Unclear) as caught:
        await client.revoke(made)
    assert_nothing_secret(caught.value, identity)
    identity.registration.clear()
    await client.revoke(made)
    assert identity.registration.registered() == []


async def test_a_refused_deletion_of_a_client_that_still_gets_tokens_is_refused(identity):
    client = await opened(identity)
    made = await client.create(TAG)
    identity.registration.fault("refuse", operation="delete")
    with pytest.raises(Refused, match="is still valid; delete it at the server by hand") as caught:
        await client.revoke(made)
    assert_nothing_secret(caught.value, identity)
    identity.registration.registered()[0].registration_token = "registration-of-somebody-else"
    identity.registration.clear()
    with pytest.raises(Refused, match="is still valid"):
        await client.revoke(made)


async def test_nothing_is_concluded_while_the_token_endpoint_can_not_tell(identity):
    client = await opened(identity)
    made = await client.create(TAG)
    identity.registration.fault("refuse", operation="delete")
    await identity.fault("status", status=503)
    with pytest.raises(NothingHappened):
        await client.revoke(made)


async def test_clients_that_did_not_register_themselves_are_not_ours(identity):
    client = await opened(identity)
    made = await client.create(TAG)
    document = json.loads(made.kept["registration.json"])
    del document["registration_access_token"]
    plain = replace(made, kept={"registration.json": json.dumps(document)})
    for known in (Found("c", TAG), Credential("", "", "by-hand"), plain):
        with pytest.raises(NotOurs, match="by hand"):
            await client.revoke(known)


async def test_a_registration_access_token_is_not_sent_in_the_clear_to_another_place(identity):
    client = await opened(identity)
    made = await client.create(TAG)
    client.url = client.url.replace("http://", "https://")
    with pytest.raises(Refused, match="without https"):
        await client.revoke(made)
