"""Where in a file something is written."""

import pytest
import yaml

from moltbot_operator.convert import convert_text
from moltbot_operator.errors import ConversionError, InvalidInput
from moltbot_operator.positions import place, syntax
from moltbot_operator.serve.files import read

TEXT = """\
kind: A
---
kind: B
spec:
  rules:
  - name: one
  - {name: two, weight: x}
"""


@pytest.mark.parametrize(
    ("path", "document", "where"),
    [
        (("kind",), 0, "line 1 column 1: "),
        (("kind",), 1, "line 3 column 1: "),
        (("spec", "rules", 0), 1, "line 6 column 5: "),
        (("spec", "rules", 1, "weight"), 1, "line 7 column 17: "),
        (("spec", "Union", "rules", 1, "missing"), 1, "line 7 column 5: "),
        (("spec", "rules", 7), 1, "line 5 column 3: "),
        ((), 5, ""),
    ],
)
def test_the_place_of_a_path(path, document, where):
    assert place(TEXT, path, document) == where


def test_json_has_places_too():
    assert place('{"routes": [{\n  "pattern": 7}]}', ("routes", 0, "pattern")) == "line 2 column 3: "


def test_what_is_no_yaml_has_none_but_its_syntax_error_does():
    assert place("a: [", ("a",)) == ""
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.safe_load("a: b: c")
    assert syntax(caught.value) == "line 1 column 5: mapping values are not allowed here"


def test_a_wrong_field_of_a_manifest_is_found_by_line_and_column(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        "apiVersion: moltbot.io/v1alpha1\nkind: ModelBackend\nmetadata:\n  name: a\n"
        "spec:\n  provider: Custom\n  endpoint: {url: 'http://a'}\n  modle: gpt\n"
    )
    with pytest.raises(InvalidInput) as caught:
        read([file])
    assert str(caught.value).startswith(f"{file}: line 8 column 3: ModelBackend default/a: spec.modle: ")


def test_a_wrong_field_of_a_models_config_is_found_by_line_and_column():
    with pytest.raises(ConversionError) as caught:
        convert_text('{"routes": [\n {"patern": "^/a/"}]}', source="f.json")
    assert "f.json: line 2 column 3: routes[0].patern: this field is unknown" in str(caught.value)
