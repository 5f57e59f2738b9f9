"""Where a live object differs from the desired one (pure): the question before every write.

Only fields that are desired count: the API server fills in others, and what somebody adds beside them
stays. Lists of named things are compared by name, in whatever order; all other lists must be equal in
length and order.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

__all__ = ["differences", "quantity"]

LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "hostAliases": ("ip",),
}
"""Keys of lists that others may add to (`x-kubernetes-list-map-keys` of server-side apply)."""

EXACT = frozenset({"selector", "matchLabels", "nodeSelector", "data", "binaryData"})
"""Objects in which an additional member changes the meaning (`x-kubernetes-map-type: atomic`)."""

QUANTITIES = frozenset({"limits", "requests", "sizeLimit"})
"""Members whose values are quantities, which the server writes in its own form: `1000m` becomes `1`."""

_QUANTITY = re.compile(r"(?P<number>[0-9.]+)(?P<unit>[KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}


def differences(desired: Any, live: Any, path: str = "") -> list[str]:
    """Dotted paths at which `live` lacks what is desired; empty if there is nothing to write.

    An empty desired value (False, 0, "", [], {}, None) equals an absent one: the server leaves such out.
    """
    if live is None:
        return [] if _empty(desired) else [path]
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        return _objects(desired, live, path)
    if isinstance(desired, Sequence) and isinstance(live, Sequence) and not isinstance(desired, str):
        return _lists(desired, live, path)
    if desired is None or desired == live or _same_quantity(desired, live, path):
        return []
    return [path]


def quantity(text: str) -> Decimal | None:
    """The number that a Kubernetes quantity means; None if it is none."""
    found = _QUANTITY.fullmatch(text)
    if not found or found["number"].count(".") > 1 or found["number"] == ".":
        return None
    unit = found["unit"] or ""
    number = Decimal(found["number"])
    if unit in _BINARY:
        return number * _BINARY[unit]
    exponent = _DECIMAL[unit] if unit in _DECIMAL else int(unit[1:] or "0")
    return number.scaleb(exponent)


def _objects(desired: Mapping[str, Any], live: Mapping[str, Any], path: str) -> list[str]:
    found = [
        difference
        for key, value in desired.items()
        for difference in differences(value, live.get(key), f"{path}.{key}" if path else key)
    ]
    if _last(path) in EXACT:
        found += [f"{path}.{key}" for key in live if key not in desired]
    return found


def _lists(desired: Sequence[Any], live: Sequence[Any], path: str) -> list[str]:
    if keys := LIST_KEYS.get(_last(path)):
        by_name = {_name(entry, keys): entry for entry in live}
        return [
            difference
            for entry in desired
            for difference in differences(
                entry, by_name.get(_name(entry, keys)), f"{path}[{_name(entry, keys)}]"
            )
        ]
    if len(desired) != len(live):
        return [path]
    pairs = enumerate(zip(desired, live, strict=True))
    return [
        difference
        for index, (want, have) in pairs
        for difference in differences(want, have, f"{path}[{index}]")
    ]


def _name(entry: Any, keys: tuple[str, ...]) -> str:
    return "/".join(str(entry.get(key)) for key in keys) if isinstance(entry, Mapping) else str(entry)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _empty(value: Any) -> bool:
    """Whether the server would leave the value out; an object of nothing but empty values counts too."""
    return all(_empty(member) for member in value.values()) if isinstance(value, Mapping) else not value


def _same_quantity(desired: Any, live: Any, path: str) -> bool:
    parts = path.split(".")
    if not QUANTITIES.intersection(parts[-2:]):
        return False
    want, have = quantity(str(desired)), quantity(str(live))
    return want is not None and want == have
