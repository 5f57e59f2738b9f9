"""Manifests to models.config.json."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel

from moltbot_operator.api.backend import ModelBackend, Provider
from moltbot_operator.api.manifest import parse_manifest
from moltbot_operator.api.route import MoltBotRoute
from moltbot_operator.api.rule import Rule
from moltbot_operator.convert.config import ConfigRoute
from moltbot_operator.convert.manifests import (
    ANNOTATION_MODEL,
    ANNOTATION_UNITS,
    DEFAULT_NAME,
    convert,
    default_spec,
    rule_names,
)
from moltbot_operator.convert.names import label
from moltbot_operator.convert.weights import from_whole
from moltbot_operator.errors import ConversionError

__all__ = ["to_config"]

Config = dict[str, Any]


def to_config(manifests: Iterable[Mapping[str, Any]]) -> Config:
    """The models.config.json of one MoltBotRoute and its ModelBackends, without their namespace.

    ConversionError names the first field that such a file can't say.
    """
    parsed = [parse_manifest(manifest) for manifest in manifests]
    routes = [item for item in parsed if isinstance(item, MoltBotRoute)]
    backends = {item.metadata.name: item for item in parsed if isinstance(item, ModelBackend)}
    if len(routes) != 1:
        raise ConversionError(f"a models.config.json holds one MoltBotRoute, not {len(routes)}: give one")
    (route,) = routes
    config = _config(route, backends)
    _same(convert(config), {**backends, "": route})
    return config


def _config(route: MoltBotRoute, backends: Mapping[str, ModelBackend]) -> Config:
    models = {name: _model(name, backend) for name, backend in backends.items()}
    units = _units(route)
    config: Config = {} if route.metadata.name == DEFAULT_NAME else {"name": route.metadata.name}
    config["routes"] = [_route(route, rule, models, units) for rule in route.spec.rules]
    first = route.spec.rules[0]
    if "failover" in first.model_fields_set:
        config["failover"] = _failover(first)
    used = {model for rule in config["routes"] for model in _models(rule)}
    entries = {models[name]: _entry(models[name], name, backend) for name, backend in backends.items()}
    entries = {model: entry for model, entry in entries.items() if entry or model not in used}
    if entries:
        config["models"] = entries
    _leave_out_names(config["routes"])
    return config


def _model(name: str, backend: ModelBackend) -> str:
    """The name of the model in the file."""
    model = backend.spec.model
    known = backend.metadata.annotations.get(ANNOTATION_MODEL)
    return known or (model if model is not None and label(model, "model") == name else name)


def _leave_out_names(routes: list[Config]) -> None:
    """Removes the rules' names that convert() would make itself."""
    wanted = [route["name"] for route in routes]
    parsed = [ConfigRoute.model_validate(route | {"name": None}) for route in routes]
    while (made := rule_names(parsed)) != wanted:
        parsed = [
            route if name == right else route.model_copy(update={"name": right})
            for route, name, right in zip(parsed, made, wanted, strict=True)
        ]
    for route, kept in zip(routes, parsed, strict=True):
        if kept.name is None:
            del route["name"]


def _units(route: MoltBotRoute) -> dict[str, Decimal]:
    written = route.metadata.annotations.get(ANNOTATION_UNITS, "{}")
    try:
        return {rule: Decimal(unit) for rule, unit in json.loads(written).items()}
    except (ValueError, AttributeError, TypeError, InvalidOperation) as error:
        raise ConversionError(
            f"MoltBotRoute {route.metadata.name}: metadata.annotations[{ANNOTATION_UNITS}]: {written!r} is"
            f" no object of "
            "decimals: remove the annotation"
        ) from error


def _route(
    route: MoltBotRoute, rule: Rule, models: Mapping[str, str], units: Mapping[str, Decimal]
) -> Config:
    at = f"MoltBotRoute {route.metadata.name}: spec.rules[{rule.name}]"
    paths = [match.path for match in rule.matches if match.path is not None]
    if len(paths) != 1:
        raise ConversionError(
            f"{at}.matches: a models.config.json needs one path of type Regex here: write one"
        )
    unknown = {candidate.backend for candidate in rule.candidates} | set(rule.fallback)
    if unknown := unknown - set(models):
        raise ConversionError(
            f"{at}: ModelBackend {', '.join(sorted(unknown))} is not given: give its manifest too"
        )
    weights = from_whole(
        [candidate.weight for candidate in rule.candidates], units.get(rule.name, Decimal(1))
    )
    candidates = [
        {"model": models[candidate.backend]}
        | ({"weight": weight} if "weight" in candidate.model_fields_set else {})
        for candidate, weight in zip(rule.candidates, weights, strict=True)
    ]
    config: Config = {"name": rule.name, "pattern": paths[0].value, "candidates": candidates}
    fallback = [models[name] for name in rule.fallback]
    if fallback:
        config["fallback"] = fallback[0] if len(fallback) == 1 else fallback
    return config


def _failover(rule: Rule) -> Config:
    given = rule.failover.model_dump(mode="json", exclude_unset=True)
    backoff = given.pop("backoff", {})
    written = {f"backoff_{name}": value for name, value in backoff.items()}
    if "backoff_strategy" in written:
        written["backoff_strategy"] = written["backoff_strategy"].lower()
    return given | written


def _entry(model: str, name: str, backend: ModelBackend) -> Config:
    """What the file must say of a model beyond what is assumed."""
    spec = backend.spec.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    assumed = default_spec(model, name, spec["provider"])
    entry = {field: value for field, value in spec.items() if assumed.get(field) != value}
    if spec["provider"] != Provider.CUSTOM:
        entry = {"provider": spec["provider"]} | entry
    return entry if backend.spec.model is not None else entry | {"model": None}


def _models(rule: Config) -> set[str]:
    fallback = rule.get("fallback", [])
    return {candidate["model"] for candidate in rule["candidates"]} | set(
        [fallback] if isinstance(fallback, str) else fallback
    )


def _same(made: list[dict[str, Any]], wanted: Mapping[str, ModelBackend | MoltBotRoute]) -> None:
    """Refuses what the file lost: the manifests that it makes must be the ones that it was made from."""
    remade = {
        "" if isinstance(item, MoltBotRoute) else item.metadata.name: item
        for item in map(parse_manifest, made)
    }
    for name, item in wanted.items():
        if name not in remade:
            raise ConversionError(
                f"ModelBackend {name}: a models.config.json can't keep this name: rename it"
            )
        if lost := _difference(item.spec, remade[name].spec, "spec"):
            raise ConversionError(
                f"{item.kind} {item.metadata.name}: {lost}: a models.config.json can't say this: remove "
                f"it, or keep the "
                "manifests"
            )


def _difference(one: Any, other: Any, at: str) -> str | None:
    """Where two values first differ."""
    if one == other:
        return None
    if isinstance(one, BaseModel) and isinstance(other, BaseModel):
        for name, field in type(one).model_fields.items():
            if found := _difference(getattr(one, name), getattr(other, name), f"{at}.{field.alias or name}"):
                return found
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            if found := _difference(left, right, f"{at}[{index}]"):
                return found
    return at
