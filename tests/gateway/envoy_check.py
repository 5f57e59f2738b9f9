"""Whether everything that a configuration refers to is there: `--mode validate` does not see that."""

import re
from collections.abc import Iterator
from typing import Any

from moltbot_operator.check.envoy import merged, refusal
from moltbot_operator.compile.envoy.names import NOWHERE

__all__ = ["dangling", "merged", "refusal"]


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
    missing |= set(_values(envoy, "server_listener_name")) - listeners - {NOWHERE}
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
