import pytest
import yaml

from moltbot_operator.check.marks import documents

TEXT = """\
spec:
  rules:
  - name: one
    matches:
    - model: [a]
  - name: two
    failover: {retryOn: []}
models:
  gpt-4.1: {provider: X}
  gpt-4: {model: y}
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ("spec", 1, 1),
        ("spec.rules[1]", 6, 5),
        ("spec.rules[two].failover.retryOn", 7, 16),
        ("spec.rules[two].failover.maxRetries", 7, 5),
        ("spec.rules[0].matches[0].model[0]", 5, 15),
        ("spec.rules[7].name", 2, 3),
        ("spec.rules[none]", 2, 3),
        ("models.gpt-4.1.provider", 9, 13),
        ("models.gpt-4.model", 10, 11),
        ("", 1, 1),
        ("nothing", 1, 1),
    ],
)
def test_the_deepest_part_that_is_there(path, line, column):
    (document,) = documents(TEXT)
    found = document.at(path)
    assert (found.line, found.column) == (line, column)


def test_json_may_have_tabs_and_dates_are_texts():
    (document,) = documents('{\n\t"a": {"b": 1}}')
    assert (document.at("a.b").line, document.at("a.b").column) == (2, 8)
    (document,) = documents("day: 2026-01-01")
    assert document.value == {"day": "2026-01-01"}


def test_empty_documents_are_left_out():
    assert [each.value for each in documents("---\n---\na: 1\n---\n")] == [{"a": 1}]
    with pytest.raises(yaml.YAMLError):
        list(documents("a: ["))
