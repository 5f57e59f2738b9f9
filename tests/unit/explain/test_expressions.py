"""RE2's expressions in Python's spelling. The property test of tests/gateway asks Envoy itself."""

import pytest

from moltbot_operator.compile.re2 import fault
from moltbot_operator.explain.expressions import whole

TEXTS = ["", "a", "A", "ab", "aB", "AB", "b", "1", "12", "/", "a/b", "_", "{,2}", ".", "a.b", "\t", "-", "]"]


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("a|b", {"a", "b"}),
        ("(?i)a", {"a", "A"}),
        ("a(?i)b", {"ab", "aB"}),
        ("a(?i)b|a", {"ab", "aB", "a", "A"}),
        ("(a(?i)b|a)", {"ab", "aB", "a", "A"}),
        ("(?:(?i)a)b", {"ab"}),
        ("(?i:a)b", {"ab"}),
        ("(?i)a(?-i)b", {"ab"}),
        ("(?U)a+", {"a"}),
        ("(?P<x>a)(?<y>b)", {"ab"}),
        (r"\pL", {"a", "A", "b"}),
        (r"\p{Lu}+", {"A", "AB"}),
        (r"\PL", {"1", "/", "_", ".", "\t", "-", "]"}),
        (r"\p{^L}", {"1", "/", "_", ".", "\t", "-", "]"}),
        (r"\p{Latin}b", {"ab"}),
        (r"\p{Greek}", set()),
        (r"[\pN/]+", {"1", "12", "/"}),
        (r"[[:alpha:]]", {"a", "A", "b"}),
        (r"[[:^alpha:]\-]", {"1", "/", "_", ".", "\t", "-", "]"}),
        ("[]a]", {"a", "]"}),
        ("[^]a]", {"A", "b", "1", "/", "_", ".", "\t", "-"}),
        ("{,2}", {"{,2}"}),
        ("a{1,2}", {"a"}),
        (r"\Qa.b\E", {"a.b"}),
        (r"a\.b", {"a.b"}),
        (r"a.b", {"a.b", "a/b"}),
        (r"\x61\x{62}", {"ab"}),
        (r"\141", {"a"}),
        (r"a\z", {"a"}),
        (r"\C\d", {"12"}),
        (r"\d+", {"1", "12"}),
        (r"\t", {"\t"}),
        (r"[\x2d\t]", {"\t", "-"}),
    ],
)
def test_it_matches(pattern, matching):
    assert fault(pattern) is None
    assert {text for text in TEXTS if whole(pattern, text)} == matching


def test_every_expression_that_is_taken_is_one_of_pythons_too():
    from test_re2 import TAKEN

    for pattern in TAKEN:
        whole(pattern, "a")
