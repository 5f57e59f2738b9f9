import pytest

from moltbot_operator.compile.re2 import fault

TAKEN = [
    "",
    "^/tech/",
    "a|b|",
    "(a)(?:b)(?P<n>c)(?<m>d)(?i)e(?s-i:f)",
    r"\d\D\s\S\w\W\b\B\A\z\C",
    r"\pL\PN\p{Greek}\p{^Lu}",
    r"\Qa.b(\E+",
    r"\x41\x{ff}\07\123\a\f\n\r\t\v\.\/\-\[",
    "[a-z][^a-z][]a][^]a][a-][-a][a\\-z][\\d\\pL-][[:alpha:][:^digit:]]",
    r"[\x41-\x{5A}][\101-\132][\t-\r]",
    "a*b+c?d*?e+?f??g{2}h{2,}i{2,3}?",
    "x{,3}y{a}{",
    "^*$",
    "(?:a*)*",
    "(a{10}){100}",
    "中.文",
]
REFUSED = {
    "(a": "not closed",
    "a)": "no beginning",
    "[a": "not closed",
    "[]": "not closed",
    "[z-a]": "range",
    r"[\d-z]": "range",
    "[[:nope:]]": "unknown class",
    "*a": "nothing to repeat",
    "a|+": "nothing to repeat",
    "a**": "repetition follows",
    "a{2}{3}": "repetition follows",
    "(?i)*": "repetition follows",
    "a{1001}": "1000",
    "a{3,2}": "ends before",
    "(a{100}){100}": "too large",
    "(?:" + "." * 900 + "){1000}": "too large",
    "(?=a)": "lookaround",
    "(?<!a)": "lookaround",
    "(?>a)": "lookaround",
    "(?)": "says nothing",
    "(?P<n>a)(?P<n>b)": "two groups",
    r"(a)\1": "backreference",
    r"\Z": "means nothing",
    r"\p{Klingon}": "means nothing",
    "\\": "means nothing",
    r"\x{100}": "no byte",
    "[中]": "several",
    r"\Qa": "no \\E",
    "(" * 300: "deeply",
}


@pytest.mark.parametrize("pattern", TAKEN)
def test_taken(pattern):
    assert fault(pattern) is None


@pytest.mark.parametrize("pattern", REFUSED)
def test_refused_with_a_reason(pattern):
    assert REFUSED[pattern] in fault(pattern)
