"""A revision's configuration: immutable ConfigMaps, one for each part."""

from base64 import b64encode

from moltbot_operator.compile.result import CompiledRoute
from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["config_maps", "part_key"]


def part_key(part: int) -> str:
    """Key in the ConfigMap and file name in the pod; the agent sorts by it."""
    return f"part-{part:03}"


def config_maps(owner: Owner, compiled: CompiledRoute) -> list[Manifest]:
    """One for each part, since an object can't be larger than about 1 MiB."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": owner.metadata(owner.config_map(compiled.revision, part), compiled.revision),
            "immutable": True,
            "binaryData": {part_key(part): b64encode(content).decode()},
        }
        for part, content in enumerate(compiled.parts)
    ]
