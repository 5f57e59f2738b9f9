"""`spec.gateway.podTemplate` over the template that the operator makes.

Like a strategic merge patch: objects merge, lists of named things merge by their name, other lists and
values replace, null removes a value. What the gateway can't work or be safe without is protected: such
fields of the overlay are left out, and reported so that a condition can say so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from moltbot_operator.errors import InvalidInput

__all__ = ["merge_pod_template", "protect"]

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "topologySpreadConstraints": "topologyKey",
}
"""Key by which a list merges, by the name of the list (`patchMergeKey` of Kubernetes' own types)."""

PROTECTED_POD = frozenset(
    {
        "automountServiceAccountToken",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "restartPolicy",
        "serviceAccount",
        "serviceAccountName",
        "shareProcessNamespace",
        "securityContext",
        "terminationGracePeriodSeconds",
    }
)
"""Fields of the pod's spec that the overlay can't set."""

OPEN_CONTAINER = frozenset(
    {"name", "env", "envFrom", "resources", "image", "imagePullPolicy", "volumeMounts"}
)
"""Fields that the overlay can set of our own containers; further containers are the user's."""

OUR_CONTAINERS = frozenset({"agent", "envoy"})


def protect(overlay: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The overlay without protected fields, and the dotted paths of what was left out.

    `ours`: the operator's own template; its labels and volumes are protected by name. InvalidInput for
    lists that are none, or have entries without the name that they merge by.
    """
    ignored: list[str] = []
    given = overlay.get("metadata") or {}
    labels = frozenset(ours["metadata"]["labels"])
    metadata = {
        "labels": _without(given.get("labels") or {}, labels, "metadata.labels", ignored),
        "annotations": dict(given.get("annotations") or {}),
    }
    spec = _without(overlay.get("spec") or {}, PROTECTED_POD, "spec", ignored)
    for field in ("containers", "initContainers"):
        if field in spec:
            entries = _entries(spec[field], field, "name")
            spec[field] = [_container(entry, f"spec.{field}", ignored) for entry in entries]
    if "volumes" in spec:
        volumes = {volume["name"] for volume in ours["spec"]["volumes"]}
        entries = _entries(spec["volumes"], "volumes", "name")
        spec["volumes"] = [volume for volume in entries if volume["name"] not in volumes]
        ignored += [f"spec.volumes[{volume['name']}]" for volume in entries if volume["name"] in volumes]
    return {"metadata": {half: found for half, found in metadata.items() if found}, "spec": spec}, ignored


def merge_pod_template(ours: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`overlay` (already without protected fields) over `ours`; neither is changed."""
    return _objects(ours, overlay)


def _container(entry: Mapping[str, Any], where: str, ignored: list[str]) -> dict[str, Any]:
    name = entry["name"]
    if name not in OUR_CONTAINERS:
        return dict(entry)
    ignored += [f"{where}[{name}].{key}" for key in entry if key not in OPEN_CONTAINER]
    return {key: value for key, value in entry.items() if key in OPEN_CONTAINER}


def _without(
    fields: Mapping[str, Any], protected: frozenset[str], where: str, ignored: list[str]
) -> dict[str, Any]:
    ignored += [f"{where}.{key}" for key in fields if key in protected]
    return {key: value for key, value in fields.items() if key not in protected}


def _entries(value: object, field: str, key: str) -> list[Mapping[str, Any]]:
    """A list of objects that each have `key`; null is an empty one."""
    entries = [] if value is None else value
    if not isinstance(entries, list) or not all(
        isinstance(entry, Mapping) and isinstance(entry.get(key), str) for entry in entries
    ):
        raise InvalidInput(
            f"spec.gateway.podTemplate: {field} must be a list of objects that each have a {key}: "
            "write it as in a Pod"
        )
    return entries


def _objects(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if key in MERGE_KEYS:
            if entries := _lists(merged.get(key) or [], value, key):
                merged[key] = entries
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _objects(merged[key], value)
        else:
            merged[key] = value
    return merged


def _lists(base: Sequence[Any], over: object, field: str) -> list[Any]:
    """The entries of `base`, each with what `over` says of it, then the others of `over`; null is empty."""
    key = MERGE_KEYS[field]
    merged = {entry[key]: entry for entry in base}
    for entry in _entries(over, field, key):
        name = entry[key]
        merged[name] = _objects(merged[name], entry) if name in merged else dict(entry)
    return list(merged.values())
