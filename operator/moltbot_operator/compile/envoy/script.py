"""The Lua scripts, and what routes tell them."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from moltbot_operator.compile import answers
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension, typed
from moltbot_operator.compile.ir import PlannedRule

__all__ = ["acts", "draw", "script", "show", "writes_model"]


@cache
def _source(name: str) -> str:
    folder = files("moltbot_operator.compile").joinpath("lua")
    return "\n".join(folder.joinpath(part).read_text("utf-8") for part in ("scan.lua", name))


def script(name: str) -> Json:
    """The filter, asleep but on routes that wake it by :func:`acts` or :func:`writes_model`."""
    lua = extension(
        names.SCRIPT,
        "extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": _source(name)},
    )
    return {**lua, "disabled": True}


def _awake(**context: str) -> Json:
    message = "extensions.filters.http.lua.v3.LuaPerRoute"
    return {names.SCRIPT: typed(message, filter_context=context)}


def acts(act: str) -> Json:
    """`typed_per_filter_config` of a route where the public script does this: scan, draw, model or models."""
    return _awake(act=act)


def writes_model(model: str) -> Json:
    """`typed_per_filter_config` of an inner route where the script writes the model into the body."""
    return _awake(model=json.dumps(model))


def draw(rule: PlannedRule) -> Json:
    """`metadata` of a rule's route: cumulated weights, final routes, models to write (in JSON, or empty)."""
    upto, total = [], 0
    for choice in rule.choices:
        total += choice.weight
        upto.append(total)
    models = [choice.chain.model for choice in rule.choices]
    plan = {
        "upto": upto,
        "to": [rule.final(number) for number in range(len(upto))],
        "models": ["" if model is None else json.dumps(model) for model in models],
    }
    return {"filter_metadata": {names.SCRIPT: {"draw": plan}}}


def show(models: Mapping[str, Sequence[str]]) -> Json:
    """`metadata` of the route that answers for one model: each consumer's models with the answer's body."""
    bodies = {consumer: {name: answers.model(name) for name in of} for consumer, of in models.items()}
    shown = {"models": bodies, "unknown": answers.unknown_model().body}
    return {"filter_metadata": {names.SCRIPT: {"show": shown}}}
