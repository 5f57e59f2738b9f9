"""`moltbot rotation` by what it makes of backends; tests/api runs it against a real API server."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from moltbot_operator import rotation_cli
from moltbot_operator.constants import ANNOTATION_KEY, ANNOTATION_ROTATE_AT
from moltbot_operator.errors import InvalidInput
from moltbot_operator.rotation_cli import key_patch_of, key_rows, patch_of, rows

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def backend(name="pro", issuer="Webhook", rotation=True, **credential):
    spec = {"rotation": {"issuer": {"type": issuer}}} if rotation else {}
    meta = {"namespace": "models", "name": name}
    return {"metadata": meta, "spec": spec, "status": {"credential": credential} if credential else {}}


def test_rows_are_of_backends_that_rotate_in_the_order_of_their_names():
    found = rows(
        [backend("z"), backend("none", rotation=False), backend("a", attempts=2, message="why")], NOW
    )
    assert [(row.backend, row.attempts, row.message) for row in found] == [("a", 2, "why"), ("z", 0, "")]


def test_ages_are_of_the_status_and_nothing_is_made_up():
    times = {"lastRotationTime": "2026-01-08T20:00:00Z", "nextRotationTime": "2026-01-09T23:59:00.5Z"}
    [row] = rows([backend(version="v1", phase="Idle", **times)], NOW)
    assert (row.age, row.next) == (timedelta(hours=28), timedelta(seconds=-59.5))
    assert row.as_json()["ageSeconds"] == 28 * 3600
    [empty] = rows([backend()], NOW)
    assert (empty.age, empty.next, empty.phase, empty.version) == (None, None, None, None)
    [odd] = rows([backend(lastRotationTime="yesterday")], NOW)
    assert odd.age is None
    assert json.loads(json.dumps(odd.as_json()))["nextSeconds"] is None


def test_a_table_has_a_line_for_each():
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    times = {"lastRotationTime": "2026-01-08T20:00:00Z", "nextRotationTime": "2026-01-09T23:59:00Z"}
    console.print(rotation_cli._table(rows([backend(version="[v1]", phase="Overlap", **times)], NOW)))
    text = console.export_text()
    assert "Overlap" in text
    assert "[v1]" in text
    assert "1d4h" in text
    assert "-1m" in text


def test_now_sets_the_time_in_the_spec():
    assert patch_of(backend(), NOW, None) == {"spec": {"rotation": {"rotateAt": "2026-01-10T00:00:00+00:00"}}}


def test_a_compromised_version_must_be_one_that_there_is():
    known = backend(version="v2", previousVersion="v1")
    for version in ("v1", "v2"):
        assert patch_of(known, NOW, version) == {"spec": {"rotation": {"compromised": version}}}
    with pytest.raises(InvalidInput, match="no version v9; it has v2, v1"):
        patch_of(known, NOW, "v9")
    with pytest.raises(InvalidInput, match="it has none"):
        patch_of(backend(), NOW, "v9")


def test_what_can_not_be_rotated_is_said_with_what_to_do():
    with pytest.raises(InvalidInput, match=r"has no spec\.rotation: say there who makes"):
        patch_of(backend(rotation=False), NOW, None)
    with pytest.raises(InvalidInput, match="once its Secret's value changes"):
        patch_of(backend(issuer="External"), NOW, None)


def key(name="web-key", state='{"phase": "Overlap", "version": "v2"}', **data):
    annotations = {} if state is None else {ANNOTATION_KEY: state}
    return {"metadata": {"namespace": "apps", "name": name, "annotations": annotations}, "data": data}


def test_keys_of_consumers_are_shown_without_what_is_in_them():
    found = key_rows([key("z-key", state="no JSON"), key(key="czNjcmV0"), key("plain", state=None)], NOW)
    assert [(row.name, row.issuer, row.phase, row.version) for row in found] == [
        ("secret/web-key", "ConsumerKey", "Overlap", "v2"),
        ("secret/z-key", "ConsumerKey", None, None),
    ]
    shown = json.dumps([row.as_json() for row in found])
    assert json.loads(shown)[0]["secret"] == "web-key"
    assert json.loads(shown)[0]["backend"] is None
    assert "czNjcmV0" not in shown


def test_a_consumers_key_is_replaced_by_an_annotation_and_a_leaked_one_taken_out():
    known = {"key": "eA==", "key-v1": "eA==", "key-v2": "eQ=="}
    asked = {"metadata": {"annotations": {ANNOTATION_ROTATE_AT: "2026-01-10T00:00:00+00:00"}}}
    assert key_patch_of(key(**known), NOW, None) == asked
    assert key_patch_of(key(**known), NOW, "v1") == {"data": {"key-v1": None}}
    with pytest.raises(InvalidInput, match="no version v9; it has v1, v2"):
        key_patch_of(key(**known), NOW, "v9")
    with pytest.raises(InvalidInput, match="has no key that is rotated"):
        key_patch_of(key(state=None), NOW, None)
