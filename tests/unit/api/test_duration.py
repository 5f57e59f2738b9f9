from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from moltbot_operator.api import Duration, format_duration, parse_duration
from moltbot_operator.api.duration import DurationBounds


class Wait(BaseModel):
    time: Duration


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300ms", timedelta(milliseconds=300)),
        ("5s", timedelta(seconds=5)),
        ("1h30m", timedelta(minutes=90)),
        ("72h", timedelta(hours=72)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("0.001ms", timedelta(microseconds=1)),
        ("250us", timedelta(microseconds=250)),
        ("0s", timedelta()),
    ],
)
def test_parse(text: str, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "5 s",
        "-5s",
        "+5s",
        "3d",
        "5S",
        "5s\n",
        "1.2345s",
        "1.5us",
        "٣s",
        "1" * 40 + "s",
        "9" * 30 + "h",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="such as 300ms, 5s or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(hours=72), "72h"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(milliseconds=1500), "1s500ms"),
        (timedelta(seconds=60), "1m"),
    ],
)
def test_format(value: timedelta, text: str) -> None:
    assert format_duration(value) == text


def test_format_refuses_negative_ones() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))


@given(st.integers(min_value=0, max_value=10**15).map(lambda us: timedelta(microseconds=us)))
def test_what_is_written_is_read_again(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


def test_a_field_reads_and_writes_durations() -> None:
    assert Wait.model_validate({"time": "1h30m"}).model_dump(mode="json") == {"time": "1h30m"}
    assert Wait(time=timedelta(seconds=5)).model_dump(mode="json") == {"time": "5s"}


@pytest.mark.parametrize("value", [5, None, "5", "0s", "8761h", True, [], timedelta()])
def test_a_field_says_what_to_write(value: object) -> None:
    with pytest.raises(
        ValidationError, match="write a duration from 1ms to 8760h, such as 300ms, 5s or 1h30m"
    ):
        Wait.model_validate({"time": value})


def test_bounds_are_in_the_schema() -> None:
    schema = Wait.model_json_schema()["properties"]["time"]
    assert schema["type"] == "string"
    assert "duration(self) >= duration('1ms')" in schema["x-kubernetes-validations"][0]["rule"]
    assert schema["x-kubernetes-validations"][0]["message"] == DurationBounds().remedy
