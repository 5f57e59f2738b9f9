"""The Lua scripts, and what routes tell them."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from moltbot_operator.compile import answers
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension, typed
from moltbot_operator.compile.ir import Choice, Gateway, PlannedRule

__all__ = ["acts", "awake", "draw", "learns", "scans", "script", "served", "show", "tasks", "writes_model"]


_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "public.lua": ("garbage.lua", "scan.lua", "task.lua", "latency.lua", "usage.lua"),
    "inner.lua": ("garbage.lua", "scan.lua"),
    "overlong.lua": (),
}


@cache
def _source(name: str) -> str:
    folder = files("moltbot_operator.compile").joinpath("lua")
    return "\n".join(folder.joinpath(part).read_text("utf-8") for part in (*_PARTS[name], name))


def awake(name: str) -> Json:
    """The filter, which runs on every request."""
    return extension(
        names.SCRIPT,
        "extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": _source(name)},
    )


def script(name: str) -> Json:
    """The filter, asleep but on routes that wake it by :func:`acts` or :func:`writes_model`."""
    return {**awake(name), "disabled": True}


def _awake(**context: Json | str) -> Json:
    message = "extensions.filters.http.lua.v3.LuaPerRoute"
    return {names.SCRIPT: typed(message, filter_context=context)}


def acts(act: str) -> Json:
    """`typed_per_filter_config` of a route where the public script does this: scan, draw, model or models."""
    return _awake(act=act)


def scans(rule: PlannedRule, name: str, asked: Sequence[str]) -> Json:
    """As acts("scan"), where a body that asks for one of these models is all that the rule still asks for.

    The script then draws at once. It keeps the plan by `name`, unique in the gateway, since to read it anew
    for each request costs as much as to scan a body of some kilobytes.
    """
    return _awake(act="scan", plan=name, draw={**_plan(rule), "asked": dict.fromkeys(asked, True)})


def writes_model(model: str) -> Json:
    """`typed_per_filter_config` of an inner route where the script writes the model into the body."""
    return _awake(model=json.dumps(model))


def draw(rule: PlannedRule) -> Json:
    """`metadata` of a rule's route: cumulated weights, final routes, models to write.

    These are in JSON, `inner` where the inner tier writes it, `=` where that is done behind a worker, and
    empty where the backend has none.
    """
    return {"filter_metadata": {names.SCRIPT: {"draw": _plan(rule)}}}


def _plan(rule: PlannedRule) -> Json:
    upto, total = [], 0
    for choice in rule.choices:
        total += choice.weight
        upto.append(total)
    plan: Json = {
        "upto": upto,
        "to": [rule.final(number) for number in range(len(upto))],
        "models": [_written(rule, choice) for choice in rule.choices],
    }
    if rule.by_latency:
        plan["backends"] = [choice.chain.first.label for choice in rule.choices]
        plan["weights"] = [choice.weight for choice in rule.choices]
    return plan


def _written(rule: PlannedRule, choice: Choice) -> str:
    chain = choice.chain
    if rule.hop is not None:
        return "" if chain.first.model is None else "="
    if chain.model is not None:
        return json.dumps(chain.model)
    return "" if chain.first.model is None else "inner"


def learns(rule: PlannedRule, choice: Choice) -> Json:
    """`typed_per_filter_config` of a final route: what the script reads of the answer. Empty if nothing."""
    context = {}
    if rule.by_latency:
        context["learn"] = choice.chain.first.label
    if rule.reads(choice):
        context["usage"] = "tokens"
    if rule.hop is not None:
        context["hop"] = "worker"
    return _awake(**context) if context else {}


def served(rule: PlannedRule) -> Json:
    """`metadata` of a final route that leads to the worker: the model of each backend that may answer."""
    alone = {} if rule.hop is None else rule.hop.alone
    models = {label: chain.model for label, chain in alone.items() if chain.model is not None}
    return {"filter_metadata": {names.SCRIPT: {"served": models}}}


def tasks(gateway: Gateway) -> Json:
    """`metadata` of the public virtual host: the models that tell the kind of task. Empty if no rule asks."""
    if gateway.task_models is None:
        return {}
    return {"metadata": {"filter_metadata": {names.SCRIPT: {"tasks": {"models": dict(gateway.task_models)}}}}}


def show(models: Mapping[str, Sequence[str]]) -> Json:
    """`metadata` of the route that answers for one model: each consumer's models with the answer's body."""
    bodies = {consumer: {name: answers.model(name) for name in of} for consumer, of in models.items()}
    shown = {"models": bodies, "unknown": answers.unknown_model().body}
    return {"filter_metadata": {names.SCRIPT: {"show": shown}}}
