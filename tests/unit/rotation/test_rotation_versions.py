"""Names of versions and of consumers' keys, and what several consumers ask of one key."""

from datetime import UTC, datetime, timedelta

import pytest

from moltbot_operator.api import ConsumerKeyRotation
from moltbot_operator.rotation.policies import key_policy
from moltbot_operator.rotation.versions import KEY, fresh_version, key_of, version_in

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


def test_a_fresh_version_is_found_again_by_the_name_of_its_key():
    one, two = fresh_version(NOW), fresh_version(NOW)
    assert one != two
    assert one.startswith("20260131-080000-")
    assert version_in(key_of(one)) == one


@pytest.mark.parametrize("name", [KEY, "key-", "key-of-mine", "other", "key-20260131-080000-aaaa.bak"])
def test_other_names_are_a_persons(name):
    assert version_in(name) is None


def test_the_shortest_interval_and_the_longest_overlap_count():
    hours = [timedelta(hours=each) for each in range(4)]
    wishes = [
        ConsumerKeyRotation(interval=hours[3], overlap=hours[0]),
        ConsumerKeyRotation(interval=hours[2], overlap=hours[1]),
    ]
    policy = key_policy(wishes, NOW, "uid")
    assert (policy.interval, policy.overlap, policy.rotate_at) == (hours[2], hours[1], NOW)
    assert policy.own
