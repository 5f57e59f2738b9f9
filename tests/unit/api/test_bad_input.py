"""What the API server refuses, the types refuse too, and say where."""

import sys
from pathlib import Path

import pytest

from moltbot_operator.api import parse_manifest
from moltbot_operator.errors import InvalidInput

sys.path.append(str(Path(__file__).parents[2] / "api"))

from bad_input import CASES, GOOD, Case


@pytest.mark.parametrize("kind", GOOD)
def test_good_objects_are_taken(kind: str) -> None:
    assert parse_manifest(GOOD[kind]).metadata.name == GOOD[kind]["metadata"]["name"]


@pytest.mark.parametrize("case", [case for case in CASES if not case.server_only], ids=lambda case: case.name)
def test_types_refuse_and_name_the_field(case: Case) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_manifest(case.manifest)
    assert case.at.removeprefix("object") in str(refused.value)
