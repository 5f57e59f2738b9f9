"""The CustomResourceDefinitions, generated from the types.

`python -m moltbot_operator.api.schema crds/` writes them; with `--check` it only compares and ends with 1
where a file differs (`make crds` writes, CI checks).
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from moltbot_operator.api.backend import ModelBackend
from moltbot_operator.api.model import ApiModel
from moltbot_operator.api.route import MoltBotRoute
from moltbot_operator.api.structural import structural_schema
from moltbot_operator.constants import BACKENDS, GROUP, ROUTES, VERSION

__all__ = ["crds", "main"]

_API_VERSION: Final = {
    "description": "Version of the API that this object is written in: moltbot.io/v1alpha1.",
    "type": "string",
}
_KIND: Final = {"description": "Kind of this object.", "type": "string"}

_READY: Final = '.status.conditions[?(@.type=="Ready")]'


def _column(name: str, path: str, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "string", "jsonPath": path, "description": description} | more


_AGE: Final = _column("Age", ".metadata.creationTimestamp", "Since when the object exists.", type="date")
_REASON: Final = _column("Reason", f"{_READY}.reason", "Why it is ready or not.", priority=1)

_BACKEND_COLUMNS: Final = [
    _column("Provider", ".spec.provider", "Preset for address and authentication."),
    _column("Model", ".spec.model", "What the provider calls the model."),
    _column("Ready", f"{_READY}.status", "Whether routes can use it."),
    _column("Rotation", ".status.credential.nextRotationTime", "When the credential is replaced next."),
    _column("Latency", ".status.observed.latency", "Latency to the first byte."),
    _column("Endpoint", ".status.endpoint", "Where requests go.", priority=1),
    _REASON,
    _AGE,
]

_ROUTE_COLUMNS: Final = [
    _column("Ready", f"{_READY}.status", "Whether the gateway serves the spec as written."),
    _column("Phase", ".status.rollout.phase", "Step of the rollout."),
    _column("Active", ".status.revision.active", "Revision that serves."),
    _column("Preview", ".status.revision.preview", "Revision that is being made ready."),
    _column("Workers", ".status.worker.replicas", "Worker pods.", type="integer"),
    _column("Address", ".status.address", "Where clients reach the gateway."),
    _REASON,
    _AGE,
]

_SCALE: Final = {
    "specReplicasPath": ".spec.worker.replicas",
    "statusReplicasPath": ".status.worker.replicas",
    "labelSelectorPath": ".status.worker.selector",
}


def crds() -> list[dict[str, Any]]:
    """Both definitions, apiextensions.k8s.io/v1, as they are applied."""
    return [
        _definition(ModelBackend, BACKENDS, "mb", _BACKEND_COLUMNS, {"status": {}}),
        _definition(MoltBotRoute, ROUTES, "mbr", _ROUTE_COLUMNS, {"status": {}, "scale": _SCALE}),
    ]


def _definition(
    model: type[ApiModel],
    plural: str,
    short: str,
    columns: list[dict[str, Any]],
    subresources: dict[str, Any],
) -> dict[str, Any]:
    kind = model.__name__
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": _object(model)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["moltbot"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _object(model: type[ApiModel]) -> dict[str, Any]:
    """The whole object's schema: metadata is the server's own, the status has no defaults."""
    schema = structural_schema(model, defaults=True)
    status = structural_schema(model, defaults=False)["properties"]["status"]
    schema["properties"] |= {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {"type": "object"},
        "status": status,
    }
    schema["required"] = ["metadata", "spec"]
    return schema


class _Dumper(yaml.SafeDumper):
    """Without anchors, which not every reader of CRDs follows."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is the library's
        return True


def files() -> dict[str, str]:
    """Name and text of each file."""
    head = "# Generated from operator/moltbot_operator/api by `make crds`: edit the types, not this file.\n"
    return {
        f"{GROUP}_{definition['spec']['names']['plural']}.yaml": head
        + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=120)
        for definition in crds()
    }


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks the files; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m moltbot_operator.api.schema", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files are")
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 where a file differs")
    given = parser.parse_args(arguments)
    stale = [
        name
        for name, text in files().items()
        if not (path := given.folder / name).is_file() or path.read_text(encoding="utf-8") != text
    ]
    if given.check:
        for name in stale:
            sys.stderr.write(f"{given.folder / name} differs from the types: run make crds\n")
        return 1 if stale else 0
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (given.folder / name).write_text(files()[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
