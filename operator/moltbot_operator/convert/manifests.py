"""models.config.json to manifests."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import yaml
from pydantic import ValidationError

from moltbot_operator.api.backend import NEEDS_ENDPOINT, ModelBackendSpec, Provider
from moltbot_operator.api.manifest import parse_manifest
from moltbot_operator.constants import API_VERSION
from moltbot_operator.convert.config import ConfigFailover, ConfigRoute, ModelsConfig, faults, parse_config
from moltbot_operator.convert.names import label, unique_labels
from moltbot_operator.convert.weights import to_whole
from moltbot_operator.errors import ConversionError, InvalidInput

__all__ = [
    "ANNOTATION_MODEL",
    "ANNOTATION_UNITS",
    "DEFAULT_NAME",
    "DEFAULT_PORT",
    "backend_names",
    "convert",
    "convert_text",
    "default_spec",
    "rule_names",
]

ANNOTATION_UNITS: Final = "moltbot.io/weight-units"
"""Annotation of a converted route: JSON object, by rule, of what one unit of weight was in the file."""

ANNOTATION_MODEL: Final = "moltbot.io/config-model"
"""Annotation of a converted backend: the model's name in the file, where the backend's own names don't tell
it."""

DEFAULT_NAME: Final = "models"
"""Name of the route of a file that gives none."""

DEFAULT_PORT: Final = 8000
"""Port of the Service that a model without an entry is looked for at."""

Manifest = dict[str, Any]


def convert(
    config: Mapping[str, Any] | str, *, source: str = "models.config.json", namespace: str | None = None
) -> list[Manifest]:
    """The ModelBackends, then the MoltBotRoute, of a file's text or of what a JSON reader made of it.

    `source` names the file in errors; `namespace` is written into every manifest. ConversionError has a line
    for each fault: where it is in the file, and what to write instead.
    """
    parsed = parse_config(config, source)
    names = backend_names(parsed)
    manifests = [_backend(model, name, parsed, source) for model, name in names.items()]
    manifests.append(_route(parsed, names, source))
    for manifest in manifests:
        if namespace is not None:
            manifest["metadata"]["namespace"] = namespace
        try:
            parse_manifest(manifest)
        except InvalidInput as error:
            raise ConversionError(
                "\n".join(f"{source}: {line}" for line in str(error).splitlines())
            ) from error
    return manifests


def convert_text(text: str, *, source: str, namespace: str | None = None) -> dict[str, str]:
    """File names and YAML texts of the manifests of a file's text."""
    return {
        f"{manifest['kind'].lower()}-{manifest['metadata']['name']}.yaml": yaml.safe_dump(
            manifest, sort_keys=False, width=110
        )
        for manifest in convert(text, source=source, namespace=namespace)
    }


def backend_names(config: ModelsConfig) -> dict[str, str]:
    """By model, in the order of first use, the name of its ModelBackend."""
    used = (
        name
        for route in config.routes
        for name in (*(candidate.model for candidate in route.candidates), *route.fallback)
    )
    models = list(dict.fromkeys([*used, *(config.models or {})]))
    return dict(zip(models, unique_labels(models, "model"), strict=True))


def rule_names(routes: Sequence[ConfigRoute]) -> list[str]:
    """The names of the rules: as given, else made from the pattern."""
    given = [route.name for route in routes if route.name is not None]
    made = iter(
        unique_labels((label(route.pattern, "all") for route in routes if route.name is None), "all", given)
    )
    return [route.name or next(made) for route in routes]


def default_spec(model: str, name: str, provider: str) -> Manifest:
    """What is assumed of a model where the file says nothing."""
    spec: Manifest = {"provider": provider, "model": model}
    if provider in NEEDS_ENDPOINT:
        spec["endpoint"] = {"service": {"name": name, "port": DEFAULT_PORT}}
    return spec


def _manifest(kind: str, name: str, annotations: Mapping[str, str], spec: Manifest) -> Manifest:
    metadata: Manifest = {"name": name}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _backend(model: str, name: str, config: ModelsConfig, source: str) -> Manifest:
    entry = (config.models or {}).get(model, {})
    assumed = default_spec(model, name, str(entry.get("provider", Provider.CUSTOM)))
    try:
        spec = ModelBackendSpec.model_validate(assumed | entry)
    except ValidationError as error:
        lines = (f"{source}: {fault}" for fault in faults(error, "models", model))
        raise ConversionError("\n".join(lines)) from error
    plain = spec.model == model and name == label(model, "model")
    return _manifest(
        "ModelBackend",
        name,
        {} if plain else {ANNOTATION_MODEL: model},
        spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True),
    )


def _route(config: ModelsConfig, names: Mapping[str, str], source: str) -> Manifest:
    units: dict[str, str] = {}
    rules = []
    for at, (route, name) in enumerate(zip(config.routes, rule_names(config.routes), strict=True)):
        rule: Manifest = {"name": name, "matches": [{"path": {"type": "Regex", "value": route.pattern}}]}
        try:
            rule["candidates"], unit = _candidates(route, names)
        except ValueError as error:
            raise ConversionError(f"{source}: routes[{at}].candidates: {error}") from error
        if unit != 1:
            units[name] = f"{unit.normalize():f}"
        if route.fallback:
            rule["fallback"] = [names[model] for model in route.fallback]
        if config.failover is not None:
            rule["failover"] = _failover(config.failover)
        rules.append(rule)
    everybody = {"name": "anyone", "auth": {"anonymous": {}}, "backends": list(names.values())}
    return _manifest(
        "MoltBotRoute",
        config.name or DEFAULT_NAME,
        {ANNOTATION_UNITS: json.dumps(units)} if units else {},
        {"rules": rules, "consumers": [everybody]},
    )


def _candidates(route: ConfigRoute, names: Mapping[str, str]) -> tuple[list[Manifest], Decimal]:
    """The candidates, and the unit of their weights."""
    candidates: list[Manifest] = [{"backend": names[candidate.model]} for candidate in route.candidates]
    weights = [candidate.weight for candidate in route.candidates if candidate.weight is not None]
    if not weights:
        return candidates, Decimal(1)
    whole, unit = to_whole(weights)
    return [candidate | {"weight": weight} for candidate, weight in zip(candidates, whole, strict=True)], unit


def _failover(failover: ConfigFailover) -> Manifest:
    given = failover.model_dump(mode="json", exclude_none=True)
    backoff = {
        member: given[field]
        for member, field in (("base", "backoff_base"), ("max", "backoff_max"))
        if field in given
    }
    if "backoff_strategy" in given:
        backoff["strategy"] = given["backoff_strategy"].capitalize()
    written = {
        "maxRetries": given.get("max_retries"),
        "backoff": backoff or None,
        "perTryTimeout": given.get("per_try_timeout"),
        "retryOn": given.get("retry_on"),
    }
    return {name: value for name, value in written.items() if value is not None}
