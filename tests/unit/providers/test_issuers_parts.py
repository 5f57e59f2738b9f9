"""Templates, JSON paths and turns of hosts, without a server."""

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.api import HttpCall
from moltbot_operator.errors import NothingHappened
from moltbot_operator.providers.issuers.clients import client_of, client_value
from moltbot_operator.providers.issuers.hosts import Bucket, Hosts
from moltbot_operator.providers.issuers.paths import one, pairs
from moltbot_operator.providers.issuers.templates import fill_body, fill_url, version_of
from moltbot_operator.rotation import tag_of


@given(st.text())
def test_a_filled_body_stays_the_json_it_was(value):
    template = '{"name": "{name}", "more": {"id": "{id}"}, "else": "{other}"}'
    filled = json.loads(fill_body(template, {"name": value, "id": "x"}))
    assert filled == {"name": value, "more": {"id": "x"}, "else": "{other}"}


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_a_filled_url_keeps_its_parts(value):
    url = fill_url("https://a.example/keys/{id}?x=1", {"id": value})
    path, _, query = url.removeprefix("https://a.example/keys/").partition("?")
    assert query == "x=1"
    assert not set(path) & set("/#&\r\n ")


def test_a_version_is_the_end_of_its_tag():
    uid = "6f1c2a34-0000-4000-8000-0123456789ab"
    assert version_of(tag_of(uid, "20261126-ab")) == "20261126-ab"
    assert version_of("other-1") == "other-1"


@pytest.mark.parametrize(
    ("path", "document", "value"),
    [
        ("$.key", {"key": "a"}, "a"),
        ("$.data.id", {"data": {"id": 7}}, "7"),
        ("$.data[0].id", {"data": [{"id": "x"}]}, "x"),
        ("$.key", {}, None),
        ("$.key", {"key": None}, None),
        ("$.key", {"key": True}, None),
        ("$.key", None, None),
        ("$.data[*].id", {"data": [{"id": 1}, {"id": 2}]}, None),
    ],
)
def test_one_value_is_a_string_or_a_number(path, document, value):
    assert one(path, document) == value


def test_an_entry_without_a_name_or_an_identifier_shifts_no_other():
    document = {
        "data": [
            {"id": "1"},
            {"id": "2", "meta": {"name": "b"}},
            {"meta": {"name": "c"}},
            {"id": "4", "meta": {"name": None}},
            {"id": "5", "meta": {"name": "e"}},
        ]
    }
    found = pairs("$.data[*].id", "$.data[*].meta.name", document)
    assert found == [("b", "2"), ("c", None), ("e", "5")]
    assert pairs("$.keys.*.id", "$.keys.*.name", {"keys": {"x": {"name": "n"}, "y": {"id": "i"}}}) == [
        ("n", None)
    ]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20))
def test_names_and_identifiers_are_paired_as_they_stand(entries):
    items = [
        {**({"id": f"i{n}"} if has_id else {}), **({"label": f"n{n}"} if has_name else {})}
        for n, (has_id, has_name) in enumerate(entries)
    ]
    expected = [(f"n{n}", f"i{n}" if i else None) for n, (i, name) in enumerate(entries) if name]
    assert pairs("$[*].id", "$[*].label", items) == expected


@pytest.mark.parametrize("path", ["$..id", "$.a[?(@.b =~ /(a+)+$/)]", "id", "$.a[1:2]", "$.a b", "$['a']"])
def test_paths_that_could_search_for_ever_are_refused(path):
    with pytest.raises(ValueError, match="JSON path of names, indices"):
        HttpCall.model_validate({"url": "https://a.example", "idPath": path})


def test_a_registered_client_brings_its_identifier():
    from moltbot_operator.api import OAuth2Auth

    spec = OAuth2Auth.model_validate({"tokenUrl": "https://a.example/token", "clientId": "given"})
    assert client_of(spec, client_value("c", "s")) == ("c", "s")
    for value in ("plain", "{not json", '{"client_id": 1}', "{}"):
        assert client_of(spec, value) == ("given", value)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_second_and_no_burst_has_more_calls_than_the_bucket_lets(steps):
    bucket, now, gone = Bucket.full(2.0, 3, 0.0), 0.0, []
    for step in steps:
        now += step
        wait = bucket.wait(now)
        bucket.take(now)
        gone.append(now + wait)
    assert all(first <= second + 1e-6 for first, second in itertools.pairwise(gone))
    for start, _ in enumerate(gone):
        for end in range(start, len(gone)):
            assert end - start + 1 <= 3 + 2.0 * (gone[end] - gone[start]) + 1e-6


def test_a_clock_that_goes_back_gives_no_more_turns():
    bucket = Bucket.full(1.0, 1, 100.0)
    bucket.take(100.0)
    assert bucket.wait(50.0) == 1.0
    assert bucket.wait(101.0) == 0.0


async def test_calls_under_way_are_bounded_and_others_are_told_to_come_again():
    from datetime import timedelta

    hosts = Hosts(lambda: 0.0, burst=100, at_once=2, longest_wait=timedelta(seconds=0.1))
    release, running, most = asyncio.Event(), 0, 0

    async def call():
        nonlocal running, most
        async with hosts.turn("a.example"):
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1

    tasks = [asyncio.create_task(call()) for _ in range(6)]
    done, pending = await asyncio.wait(tasks, timeout=1)
    assert {type(task.exception()) for task in done} == {NothingHappened}
    async with hosts.turn("b.example"):  # another host's calls go on
        pass
    release.set()
    await asyncio.gather(*pending)
    assert (len(pending), most) == (2, 2)
