"""Scores with an age, and everything that is none."""

from datetime import UTC, datetime

import pytest

from moltbot_operator.objectives import NoScore, Score, read_score

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def feed(value, *writers, key="score"):
    entries = [{"time": time, "fieldsV1": {"f:data": {".": {}, f"f:{of}": {}}}} for of, time in writers]
    return {"metadata": {"managedFields": entries}, "data": {key: value}}


@pytest.mark.parametrize(
    "value",
    ['{"score": 0.94, "at": "2026-01-31T12:00:00Z"}', ' {"at":"2026-01-31T13:00:00+01:00","score":0.94}\n'],
)
def test_a_score_with_its_time(value):
    assert read_score(feed(value), "score") == Score(0.94, NOON)


def test_a_number_is_as_old_as_the_last_change_of_its_writer():
    given = feed("0.94\n", ("other", "2026-02-01T00:00:00Z"), ("score", "2026-01-31T12:00:00Z"))
    assert read_score(given, "score") == Score(0.94, NOON)
    older = feed("1", ("score", "2026-02-01T00:00:00Z"), ("score", "2026-01-31T12:00:00Z"))
    assert read_score(older, "score") == Score(1.0, NOON)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0.94", "no known age"),
        ('{"score": 0.94}', "no time with zone"),
        ('{"score": 0.94, "at": "2026-01-31T12:00:00"}', "no time with zone"),
        ('{"score": 0.94, "at": "yesterday"}', "no time with zone"),
        ('{"score": 0.94, "at": 1769860800}', "no time with zone"),
        ('{"score": "0.94", "at": "2026-01-31T12:00:00Z"}', "no number from 0 to 1"),
        ('{"score": 94, "at": "2026-01-31T12:00:00Z"}', "no number from 0 to 1"),
        ('{"score": NaN, "at": "2026-01-31T12:00:00Z"}', "no number from 0 to 1"),
        ('{"score": true, "at": "2026-01-31T12:00:00Z"}', "no number from 0 to 1"),
        ('{"score": -0.1, "at": "2026-01-31T12:00:00Z"}', "no number from 0 to 1"),
    ],
)
def test_what_is_no_score_says_why(value, says):
    found = read_score(feed(value), "score")
    assert isinstance(found, NoScore)
    assert says in found.why
    assert not found.missing


@pytest.mark.parametrize("value", ["", "good", "[0.94]", "0.94 " + " " * 2000])
def test_rubbish_with_an_age_is_no_number(value):
    found = read_score(feed(value, ("score", "2026-01-31T12:00:00Z")), "score")
    assert isinstance(found, NoScore)
    assert "no number from 0 to 1" in found.why


def test_a_missing_key_is_told_apart():
    found = read_score({"metadata": {}, "data": {}}, "score")
    assert isinstance(found, NoScore)
    assert found.missing
