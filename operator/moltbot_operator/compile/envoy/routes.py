"""Routes of the public listener.

::

    header x-mb-route (only the script sets it) ── exact map ──> final route of a choice, or a list of models
        └─ absent ──> entry routes, in order: no operation, list of models, then each rule's matches:
                        scan    the rule asks for a model: the script reads the body, the table is asked again
                        draw    the script chooses, the table is asked again
                        final   nothing to choose: straight to the backend
                        answer  the rule is refused

A request for one of 1,000 drawn rules thus costs the walk along the entry routes and one look into a map.
"""

from typing import Final

from moltbot_operator.compile import answers, operations
from moltbot_operator.compile.answers import Answer
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.access import scope
from moltbot_operator.compile.envoy.clusters import Chained
from moltbot_operator.compile.envoy.overflow import plugin_name
from moltbot_operator.compile.envoy.proto import Json, exact, header, regex, seconds, typed
from moltbot_operator.compile.envoy.retry import policy, silence
from moltbot_operator.compile.envoy.script import acts, draw
from moltbot_operator.compile.ir import Choice, Gateway, PlannedRule
from moltbot_operator.compile.patterns import PathCondition, RequestCondition

__all__ = ["answer", "entry_routes", "exact_map", "final_routes"]


def exact_map(name: str, routes: dict[str, Json], otherwise: list[Json]) -> Json:
    """A matcher: the route with the header's value as its key, or the first of `otherwise` that matches."""
    tree: Json = {}
    if routes:
        read = typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
        actions = {
            key: {"action": {"name": "route", "typed_config": typed("config.route.v3.Route", **route)}}
            for key, route in routes.items()
        }
        tree["matcher_tree"] = {
            "input": {"name": "header", "typed_config": read},
            "exact_match_map": {"map": actions},
        }
    entries = typed("config.route.v3.RouteList", routes=otherwise)
    return {**tree, "on_no_match": {"action": {"name": "routes", "typed_config": entries}}}


def answer(match: Json, said: Answer, *, name: str = "") -> Json:
    """A route that answers by itself."""
    route: Json = {"name": name} if name else {}
    route |= {
        "match": match,
        "direct_response": {"status": said.status, "body": {"inline_string": said.body}},
    }
    if said.retry_after is not None:
        route["response_headers_to_add"] = [header("retry-after", str(said.retry_after))]
    return route


_PATHS: Final = {"exact": "path", "segments": "path_separated_prefix", "prefix": "prefix"}


def _match(condition: RequestCondition, *more: Json) -> Json:
    path: PathCondition = condition.path
    how: Json = (
        {"safe_regex": {"regex": path.value}} if path.kind == "regex" else {_PATHS[path.kind]: path.value}
    )
    headers = [
        regex(wanted.name, wanted.value) if wanted.regex else exact(wanted.name, wanted.value)
        for wanted in condition.headers
    ]
    return {**how, **({"headers": [*headers, *more]} if headers or more else {})}


def entry_routes(gateway: Gateway, chains: dict[str, Chained]) -> list[Json]:
    """Where a request goes that the script has not seen."""
    if gateway.closed:
        return [answer({"prefix": "/"}, answers.closed())]
    no_operation = {**regex(":path", operations.IS_OPERATION), "invert_match": True}
    echoed = regex(":method", "CONNECT|TRACE|TRACK")
    routes = [
        answer({"prefix": "/", "headers": [echoed]}, answers.no_method()),
        answer({"prefix": "/", "headers": [no_operation]}, answers.no_operation()),
        _models(gateway),
    ]
    for rule in gateway.rules:
        for condition in rule.conditions:
            routes += _entries(rule, condition, chains)
    if any(condition.models is not None for rule in gateway.rules for condition in rule.conditions):
        scanned = {"prefix": "/", "headers": [{"name": names.MODEL, "string_match": {"prefix": "="}}]}
        routes.append(answer(scanned, answers.unknown_model()))
    routes.append(answer({"prefix": "/"}, answers.no_rule()))
    return routes


def _entries(rule: PlannedRule, condition: RequestCondition, chains: dict[str, Chained]) -> list[Json]:
    routes = []
    more: tuple[Json, ...] = ()
    if condition.models is not None:
        unseen = {"name": names.MODEL, "present_match": False}
        scan = answer(_match(condition, unseen), answers.unfinished(), name=rule.name)
        routes.append({**scan, "typed_per_filter_config": acts("scan")})
        more = (regex(names.MODEL, f"=(?:{condition.models})"),)
    match = _match(condition, *more)
    if not rule.choices:
        cause = "" if rule.problem is None else rule.problem.message
        routes.append(answer(match, answers.refused(rule.name, cause), name=rule.name))
    elif rule.drawn:
        route = answer(match, answers.unfinished(), name=rule.name)
        routes.append({**route, "metadata": draw(rule), "typed_per_filter_config": acts("draw")})
    else:
        routes.append(_final(match, rule, rule.choices[0], chains))
    return routes


def final_routes(gateway: Gateway, chains: dict[str, Chained]) -> dict[str, Json]:
    """What the script chooses among, by the value of the header x-mb-route."""
    if gateway.closed:
        return {}
    routes = {
        f"{rule.name}/{number}": _final({"prefix": "/"}, rule, choice, chains)
        for rule in gateway.rules
        if rule.drawn
        for number, choice in enumerate(rule.choices)
    }
    for consumer in gateway.consumers:
        routes[f"models:{consumer.name}"] = answer({"prefix": "/"}, _listed(gateway, consumer.name))
    return routes


def _models(gateway: Gateway) -> Json:
    """The list of models; whose it is, is only known after the consumer's key was looked at."""
    match = {"safe_regex": {"regex": operations.MODELS}, "headers": [exact(":method", "GET")]}
    if gateway.anonymous is not None:
        return answer(match, _listed(gateway, gateway.anonymous))
    return {**answer(match, answers.unfinished()), "typed_per_filter_config": acts("models")}


def _listed(gateway: Gateway, consumer: str) -> Answer:
    """The models of every rule that this consumer may use."""
    usable = [
        rule
        for rule in gateway.rules
        if rule.choices and (rule.consumers is None or consumer in rule.consumers)
    ]
    return answers.model_list(dict.fromkeys(model for rule in usable for model in rule.models))


def _final(match: Json, rule: PlannedRule, choice: Choice, chains: dict[str, Chained]) -> Json:
    chain = chains[choice.chain.label]
    action: Json = {
        "timeout": "0s",
        "idle_timeout": seconds(silence(rule.retry, choice.chain)),
        "regex_rewrite": {
            "pattern": {"regex": operations.REWRITE},
            "substitution": operations.rewritten(choice.chain.prefix),
        },
        "retry_policy": policy(rule.retry, choice.chain),
    }
    if choice.chain.direct:
        action["host_rewrite_literal"] = choice.chain.first.host_header
    if chain.limit is None:
        action["cluster"] = chain.name
    else:
        action["cluster_specifier_plugin"] = plugin_name(chain)
    route: Json = {
        "name": rule.name,
        "match": match,
        "route": action,
        "response_headers_to_add": [header("x-moltbot-rule", rule.name)],
    }
    allowed = scope(rule)
    return {**route, "typed_per_filter_config": allowed} if allowed else route
