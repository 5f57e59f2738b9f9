"""The examples are what the types take, and what the docs say of issuers is there."""

from pathlib import Path

import pytest
import yaml

from moltbot_operator.api import IssuerType, ModelBackendSpec, MoltBotRouteSpec, WebhookPreset
from moltbot_operator.providers.issuers import ADMIN_APIS

ROOT = Path(__file__).parents[3]
FOREIGN = {"argocd", "pipelines"}
"""Folders of other systems' files; tests/unit/conditions and tests/unit/commands check those."""
EXAMPLES = [
    file
    for file in sorted((ROOT / "examples").rglob("*.yaml"))
    if not FOREIGN & set(file.relative_to(ROOT).parts)
]
SPECS = {"ModelBackend": ModelBackendSpec, "MoltBotRoute": MoltBotRouteSpec}


def backends():
    for file in (ROOT / "examples" / "rotation").glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            if document["kind"] == "ModelBackend":
                yield file.name, ModelBackendSpec.model_validate(document["spec"])


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT / "examples")))
def test_every_example_is_valid(file):
    documents = [each for each in yaml.safe_load_all(file.read_text()) if each]
    assert documents
    for document in documents:
        if document["kind"] in SPECS:
            SPECS[document["kind"]].model_validate(document["spec"])


def test_there_is_an_example_of_every_issuer_and_preset():
    rotations = [spec.rotation for _, spec in backends()]
    assert all(rotations)
    assert {each.issuer.type for each in rotations} == set(IssuerType)
    presets = {each.issuer.webhook.preset for each in rotations if each.issuer.webhook}
    assert presets == {None, *WebhookPreset} == {None, *ADMIN_APIS}


def test_the_docs_name_every_example_and_the_document_of_every_preset():
    text = (ROOT / "docs" / "issuers.md").read_text()
    for name, _ in backends():
        assert f"`{name}`" in text
    for preset, api in ADMIN_APIS.items():
        assert f"`{preset}`" in text
        assert api.source in text
