"""Resources and what they compile to, one folder a feature.

Regenerate after a change that is meant: MOLTBOT_REGENERATE=1 pytest tests/golden, and read the difference.
"""

import dataclasses
import os
import shutil
import ssl
from pathlib import Path

import pytest
import yaml
from envoy_check import dangling, refusal

from moltbot_operator.compile import Files, WorkerFiles, compile_route
from moltbot_operator.compile.envoy.script import script
from moltbot_operator.compile.envoy.tokens import consumer_script
from moltbot_operator.compile.worker_secret import worker_secret
from moltbot_operator.serve.files import read

HERE = Path(__file__).parent
FEATURES = sorted(folder.name for folder in HERE.iterdir() if (folder / "in.yaml").exists())
CONSUMER_SCRIPT = consumer_script()
REGENERATE = bool(os.environ.get("MOLTBOT_REGENERATE"))
SCRIPTS = {
    script(name)["typed_config"]["default_source_code"]["inline_string"]: f"<{name}>"
    for name in ("public.lua", "inner.lua", "overlong.lua")
}


def compiled(feature, files=None):
    return compile_route(read([HERE / feature / "in.yaml"]).sources("assistant", {}, files or Files()))


def readable(node):
    """Without the scripts' text, which has files of its own, and the revision, which depends on it.

    And without the listener for test requests, which only says again what the public one says.
    """
    if isinstance(node, dict):
        return {key: readable(value) for key, value in node.items() if key != "revision"}
    if isinstance(node, list | tuple):
        return [readable(each) for each in node if not probes(each)]
    if dataclasses.is_dataclass(node):
        return readable(dataclasses.asdict(node))
    if isinstance(node, str):
        return SCRIPTS.get(node, node.replace(CONSUMER_SCRIPT, "<consumer.lua>"))
    return node


def probes(node):
    return isinstance(node, dict) and node.get("name") == "probe" and "filter_chains" in node


def written(result, *, probe=False):
    listeners = result.envoy["static_resources"]["listeners"]
    document = {
        "rules": readable(result.rules),
        "backends": readable(result.backends),
        "warnings": readable(result.warnings),
        "mounts": readable(result.mounts),
        "agent": readable(result.agent.model_dump(mode="json")),
        "envoy": readable(result.envoy),
    }
    if probe:
        document["probe"] = [readable({"listener": each}) for each in listeners if probes(each)]
    if result.worker is not None:
        document["worker"] = readable(result.worker.model_dump(mode="json", by_alias=True))
    return yaml.dump(document, sort_keys=True, allow_unicode=True, width=110, Dumper=NoAliases)


class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, _data):
        return True


def test_there_are_features():
    assert len(FEATURES) >= 12


@pytest.mark.parametrize("feature", FEATURES)
def test_compiles_to_what_is_written(feature):
    file = HERE / feature / "out.yaml"
    text = written(compiled(feature), probe=feature == "drill")
    if REGENERATE:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), (
        "if this is meant: MOLTBOT_REGENERATE=1 pytest tests/golden"
    )


@pytest.mark.parametrize("feature", FEATURES)
def test_envoy_takes_it(feature, tmp_path):
    secret = tmp_path / "worker"
    secret.mkdir()
    for name, content in worker_secret("seed", "revision").items():
        (secret / name).write_text(content)
    files = Files(
        ca=str(tmp_path),
        system_ca=ssl.get_default_verify_paths().cafile,
        worker=WorkerFiles(secret=str(secret)),
    )
    result = compiled(feature, files)
    for mount in result.mounts:
        if mount.purpose == "ca":
            (tmp_path / mount.folder).mkdir()
            shutil.copy(ssl.get_default_verify_paths().cafile, tmp_path / mount.folder / mount.path)
    assert refusal(result, tmp_path) is None
    delivered = [result.agent.verifier.template] if result.agent.verifier else []
    assert dangling(result.envoy, *delivered) == set()
