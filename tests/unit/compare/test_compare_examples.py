import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.compare.examples import example
from moltbot_operator.explain.expressions import whole

PATTERNS = [
    "^/tech/",
    ".*(?:^/tech/).*",
    "/a|/b",
    r"^/v\d+/x$",
    r"/(?:one|two)/[0-9]{3}",
    r"(?i)/Team-[a-z]+",
    r"/[^/]+/x",
    r"/x(?P<id>\w*)?",
    r"\Qa.b\E",
    r"/[[:digit:]]+",
    r"\pL+\.",
    "(a(b(c)))+?",
    "x{2,}",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_example_matches(pattern):
    assert whole(pattern.removeprefix("^").removesuffix("$"), example(pattern))


@pytest.mark.parametrize("pattern", ["[a", r"\p{Greek}", "a\\"])
def test_what_is_too_hard_has_none(pattern):
    assert example(pattern) is None


@given(st.text("ab/[]()|*+?{}^$\\d1", max_size=12))
def test_it_never_fails(pattern):
    found = example(pattern)
    assert found is None or not re.search(r"\n", found)
