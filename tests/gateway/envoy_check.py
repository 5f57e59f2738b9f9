"""Asks real Envoy whether it would take a configuration, with everything that is delivered by file merged in.

`--mode validate` does not look into dynamic files, and ends by a signal for a static secret that is missing,
so any code but 0 is a refusal; it does not see references to missing clusters, which `dangling` finds.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import orjson
from certificates import Authority

from moltbot_agent.config import Verifier
from moltbot_agent.envoy import binary
from moltbot_operator.compile import CompiledRoute

__all__ = ["dangling", "merged", "refusal"]


def merged(compiled: CompiledRoute) -> dict[str, Any]:
    """One static bootstrap: secrets and consumers' keys inside."""
    secrets: set[str] = set()
    document = _static(orjson.loads(orjson.dumps(compiled.envoy)), compiled, secrets)
    document["static_resources"]["secrets"] = [
        {"name": name, **(_pair() if _shown(compiled, name) else {"generic_secret": _GENERIC})}
        for name in sorted(secrets)
    ]
    return document


_GENERIC = {"secret": {"inline_string": "x"}}


def _shown(compiled: CompiledRoute, name: str) -> bool:
    return compiled.agent.certificate is not None and compiled.agent.certificate.name == name


@cache
def _pair() -> dict[str, Any]:
    """A certificate of the gateway's own."""
    with tempfile.TemporaryDirectory() as folder:
        chain, key = (Path(file).read_text() for file in Authority().issue(Path(folder), "gateway"))
    inline = {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
    return {"tls_certificate": inline}


def _static(node: Any, compiled: CompiledRoute, secrets: set[str]) -> Any:
    if isinstance(node, list):
        return [_static(each, compiled, secrets) for each in node]
    if not isinstance(node, dict):
        return node
    if "sds_config" in node:
        assert node["sds_config"]["path_config_source"]["path"] in {
            str(each.target)
            for each in (*compiled.agent.credentials, compiled.agent.certificate)
            if each is not None and each.name == node["name"]
        }
        secrets.add(node["name"])
        return {"name": node["name"]}
    if "config_discovery" in node:
        if compiled.agent.verifier is not None and node["name"] == compiled.agent.verifier.resource:
            return _tokens(node, compiled.agent.verifier)
        consumers = compiled.agent.consumers
        assert consumers is not None
        assert node["name"] == consumers.resource
        assert node["config_discovery"]["config_source"]["path_config_source"]["path"] == str(
            consumers.target
        )
        found = reduce(getitem, consumers.inside, template := deepcopy(consumers.template))
        found["credentials"] = [{"key": each.consumer, "client": each.consumer} for each in consumers.keys]
        return {"name": node["name"], "typed_config": template}
    return {key: _static(value, compiled, secrets) for key, value in node.items()}


def _tokens(node: dict[str, Any], tokens: Verifier) -> dict[str, Any]:
    assert node["config_discovery"]["config_source"]["path_config_source"]["path"] == str(tokens.target)
    assert {each.provider for each in tokens.keys} <= tokens.template["providers"].keys()
    return {"name": node["name"], "typed_config": tokens.template}


def refusal(compiled: CompiledRoute, folder: Path) -> str | None:
    """What Envoy says against the configuration; None if it takes it. CA files must exist."""
    file = folder / "validate.json"
    file.write_bytes(orjson.dumps(merged(compiled)))
    command = [str(binary()), "--mode", "validate", "-c", str(file), "--reject-unknown-dynamic-fields"]
    done = subprocess.run(
        [*command, "--disable-hot-restart", "--log-level", "error"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return None if done.returncode == 0 else f"code {done.returncode}: {done.stderr[-2000:]}"


def dangling(envoy: dict[str, Any], *delivered: dict[str, Any]) -> set[str]:
    """Names of clusters, plugins and listeners that something refers to and nothing defines.

    `delivered` are configurations of filters that come by file.
    """
    resources = envoy["static_resources"]
    clusters = {each["name"] for each in resources["clusters"]}
    listeners = {each["name"] for each in resources["listeners"]}
    plugins = {each["extension"]["name"] for each in _values(envoy, "cluster_specifier_plugins", flat=True)}
    wanted = {name for name in _values([envoy, *delivered], "cluster") if isinstance(name, str)} - {
        envoy["node"]["cluster"]
    }
    members = {each["name"] for each in _values(envoy, "clusters", flat=True) if set(each) == {"name"}}
    missing = (wanted | members) - clusters
    missing |= set(_values(envoy, "cluster_specifier_plugin")) - plugins
    missing |= set(_values(envoy, "server_listener_name")) - listeners
    for source in _values(envoy, "source_code"):
        quoted = source["inline_string"].split('"')[1::2]
        named = {re.sub(r"\\(\d{3})", lambda code: chr(int(code[1])), each) for each in quoted}
        missing |= named - clusters
    return missing


def _values(node: Any, key: str, *, flat: bool = False) -> Iterator[Any]:
    if isinstance(node, list):
        for each in node:
            yield from _values(each, key, flat=flat)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield from value if flat else [value]
            yield from _values(value, key, flat=flat)
