"""What a rule asks of workers: it is told by its fields, and nothing of it is left where it is taken away."""

import json

from moltbot_operator.api import Rule
from moltbot_operator.compile.features import FIELDS, features_of, told, without

EVERYTHING = {
    "name": "all",
    "candidates": [{"backend": "a"}],
    "cache": {"ttl": "1m"},
    "coalesce": True,
    "batch": {},
    "async": {"queue": "q"},
    "aggregate": {"strategy": "Vote", "backends": ["a", "b", "c"]},
    "failover": {"maxRetries": 2, "stream": {}},
}


def test_each_field_is_told_as_it_is_written_with_its_defaults():
    found = features_of(Rule.model_validate(EVERYTHING))
    shown = told(found)
    assert tuple(shown) == FIELDS
    assert json.loads(shown["cache"]) == {"ttl": "1m", "scope": "Consumer"}
    assert json.loads(shown["coalesce"]) is True


def test_nothing_is_left_of_it_but_the_failover():
    rule = without(Rule.model_validate(EVERYTHING))
    assert features_of(rule) is None
    assert rule.failover.max_retries == EVERYTHING["failover"]["maxRetries"]
    assert rule.backends == ("a",)
