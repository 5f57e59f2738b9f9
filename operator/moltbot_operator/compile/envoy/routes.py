"""Routes of the public listener.

::

    header x-mb-route (only the script sets it) ── exact map ──> final route of a choice, or a list of models
        └─ absent ──> entry routes, in order: no operation, list of models, then each rule's matches (for
                      operations on stored objects, each rule with the one backend that keeps them):
                        scan    the rule asks for a model: the script reads the body, the table is asked again
                        draw    the script chooses, the table is asked again
                        final   nothing to choose: straight to the backend
                        answer  the rule is refused

A request for one of 1,000 drawn rules thus costs the walk along the entry routes and one look into a map.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from moltbot_operator.compile import answers, operations
from moltbot_operator.compile.answers import Answer
from moltbot_operator.compile.drill import DRILL_HEADER, LIST, drills
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.access import scope
from moltbot_operator.compile.envoy.clusters import Chained
from moltbot_operator.compile.envoy.overflow import plugin_name
from moltbot_operator.compile.envoy.proto import Json, exact, header, regex, seconds, typed
from moltbot_operator.compile.envoy.retry import policy, silence
from moltbot_operator.compile.envoy.script import acts, draw, learns, scans, served, show
from moltbot_operator.compile.envoy.usage import reads_events
from moltbot_operator.compile.envoy.worker import hop_action, hop_headers, job_routes
from moltbot_operator.compile.ir import Gateway, PlannedRule
from moltbot_operator.compile.patterns import PathCondition, RequestCondition

__all__ = ["answer", "drill_map", "entry_routes", "exact_map", "final_routes", "stored_routes"]


def exact_map(
    name: str,
    routes: Mapping[str, Json | list[Json]],
    otherwise: list[Json],
    stored: list[Json] | None = None,
) -> Json:
    """A matcher: the route with the header's value as its key, or the first of `otherwise` that matches.

    Operations on stored objects go to the first of `stored`, where it is given.
    """
    tree: Json = _by_value(name, routes) if routes else {}
    if stored is None:
        return {**tree, "on_no_match": _first_of(otherwise)}
    path = typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=":path")
    is_stored = {
        "input": {"name": "path", "typed_config": path},
        "value_match": {"safe_regex": {"google_re2": {}, "regex": operations.IS_STORED}},
    }
    fork = {
        "matcher_list": {
            "matchers": [{"predicate": {"single_predicate": is_stored}, "on_match": _first_of(stored)}]
        },
        "on_no_match": _first_of(otherwise),
    }
    return {**tree, "on_no_match": {"matcher": fork}}


def _by_value(name: str, routes: Mapping[str, Json | list[Json]]) -> Json:
    read = typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
    actions = {
        key: _first_of(route)
        if isinstance(route, list)
        else {"action": {"name": "route", "typed_config": typed("config.route.v3.Route", **route)}}
        for key, route in routes.items()
    }
    return {
        "matcher_tree": {
            "input": {"name": "header", "typed_config": read},
            "exact_match_map": {"map": actions},
        }
    }


def drill_map(gateway: Gateway, drilled: dict[str, Chained], otherwise: Json) -> Json:
    """As exact_map: the route of the drill that a request names, or the matcher `otherwise`."""
    if not gateway.drilled:
        return otherwise
    every = drills(gateway)
    listed = json.dumps({"drills": [each.shown() for each in every]}, ensure_ascii=False)
    routes = {LIST: answer({"prefix": "/"}, Answer(200, listed))}
    routes[LIST]["response_headers_to_add"] = [header(DRILL_HEADER, LIST)]
    for each in every:
        route = _sent({"prefix": "/"}, each.rule, drilled[each.key])
        route["response_headers_to_add"].append(header(DRILL_HEADER, each.key))
        routes[each.key] = route
    return {**_by_value(DRILL_HEADER, routes), "on_no_match": {"matcher": otherwise}}


def _first_of(routes: list[Json]) -> Json:
    entries = typed("config.route.v3.RouteList", routes=routes)
    return {"action": {"name": "routes", "typed_config": entries}}


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


def stored_routes(gateway: Gateway, chains: dict[str, Chained]) -> list[Json] | None:
    """As entry_routes, for operations on stored objects; None if they need nothing of their own."""
    if gateway.closed or not any(rule.kept for rule in gateway.rules):
        return None
    return _entry_routes(gateway, [rule.kept or rule for rule in gateway.rules], chains)


def entry_routes(gateway: Gateway, chains: dict[str, Chained]) -> list[Json]:
    """Where a request goes that the script has not seen."""
    if gateway.closed:
        return [answer({"prefix": "/"}, answers.closed())]
    return _entry_routes(gateway, gateway.rules, chains)


def _entry_routes(gateway: Gateway, rules: Sequence[PlannedRule], chains: dict[str, Chained]) -> list[Json]:
    no_operation = {**regex(":path", operations.IS_OPERATION), "invert_match": True}
    routes = [
        *(_no_method(method) for method in _NO_METHODS),
        answer({"prefix": "/", "headers": [no_operation]}, answers.no_operation()),
        *_models(gateway),
        *job_routes(gateway),
    ]
    for rule in rules:
        for number, condition in enumerate(rule.conditions):
            routes += _entries(gateway, rule, number, condition, chains)
    if any(condition.models is not None for rule in gateway.rules for condition in rule.conditions):
        scanned = {"prefix": "/", "headers": [{"name": names.MODEL, "string_match": {"prefix": "="}}]}
        routes.append(answer(scanned, answers.unknown_model()))
    routes.append(answer({"prefix": "/"}, answers.no_rule()))
    return routes


_NO_METHODS: Final = ("CONNECT", "OPTIONS", "TRACE", "TRACK")
"""OPTIONS is what browsers ask first: pages of other sites have no business here."""


def _no_method(method: str) -> Json:
    refused = answer({"prefix": "/", "headers": [exact(":method", method)]}, answers.no_method())
    return {**refused, "response_headers_to_add": [header("allow", "DELETE, GET, HEAD, POST")]}


def _entries(
    gateway: Gateway, rule: PlannedRule, number: int, condition: RequestCondition, chains: dict[str, Chained]
) -> list[Json]:
    routes = []
    more: tuple[Json, ...] = ()
    if condition.scanned:
        unseen = {"name": names.MODEL, "present_match": False}
        scan = answer(_match(condition, unseen), answers.unfinished(), name=rule.name)
        asked = _all_that_is_asked(rule, condition)
        act = scans(rule, f"{rule.key or rule.name}#{number}", asked) if asked else acts("scan")
        routes.append({**scan, "typed_per_filter_config": act | reads_events()})
    if condition.models is not None:
        more = (regex(names.MODEL, f"=(?:{condition.models})"),)
    if condition.task is not None:
        more = (*more, exact(names.TASK, str(condition.task)))
    if rule.worked is not None and rule.worked.hop is not None:
        posted = (exact(":method", "POST"), regex(":path", rule.worked.hop.paths))
        routes += _taken(gateway, rule.worked, condition, _match(condition, *more, *posted), chains)
    return [*routes, *_taken(gateway, rule, condition, _match(condition, *more), chains)]


def _all_that_is_asked(rule: PlannedRule, condition: RequestCondition) -> tuple[str, ...]:
    """Names of models any of which, once the condition's scan has found it, makes the rule take the request.

    A request is scanned for the first rule whose path and headers it meets, so that no other comes before.
    Then the script draws at once, and the route table is not walked again.
    """
    worked = rule.worked is not None and rule.worked.hop is not None
    if condition.task is not None or worked or not rule.drawn:
        return ()
    return tuple(name for name in condition.names if not name.endswith("*"))


def _taken(
    gateway: Gateway,
    rule: PlannedRule,
    condition: RequestCondition,
    match: Json,
    chains: dict[str, Chained],
) -> list[Json]:
    """The entry route of requests of which it is known that the rule takes them."""
    routes = []
    if not rule.choices:
        cause = "" if rule.problem is None else rule.problem.message
        refused = answer(match, answers.refused(rule.name, cause), name=rule.name)
        refused["response_headers_to_add"].append(header("x-moltbot-rule", rule.name))
        routes.append(refused)
    elif rule.drawn:
        route = answer(match, answers.unfinished(), name=rule.name)
        reads = reads_events() if any(rule.reads(choice) for choice in rule.choices) else {}
        routes.append({**route, "metadata": draw(rule), "typed_per_filter_config": acts("draw") | reads})
    else:
        # what was scanned has woken the filters that read the answer
        woken = {} if condition.scanned or not rule.reads(rule.choices[0]) else reads_events()
        route = _final(gateway, match, rule, 0, chains)
        filters = route.get("typed_per_filter_config", {}) | woken
        routes.append({**route, "typed_per_filter_config": filters} if filters else route)
    return routes


def final_routes(gateway: Gateway, chains: dict[str, Chained]) -> dict[str, Json]:
    """What the script chooses among, by the value of the header x-mb-route."""
    if gateway.closed:
        return {}
    routes = {
        rule.final(number): _final(gateway, {"prefix": "/"}, rule, number, chains)
        for rule in gateway.every_rule
        if rule.drawn
        for number in range(len(rule.choices))
    }
    for consumer in gateway.consumers:
        routes[f"models:{consumer.name}"] = answer({"prefix": "/"}, _listed(gateway, consumer.name))
    return routes


def _models(gateway: Gateway) -> list[Json]:
    """The list of models, and each; whose they are is only known after the consumer's key was looked at."""
    routes = []
    for method in ("GET", "HEAD"):
        asked = [exact(":method", method)]
        match = {"safe_regex": {"regex": operations.MODELS}, "headers": asked}
        if gateway.anonymous is not None:
            routes.append(answer(match, _listed(gateway, gateway.anonymous)))
        else:
            route = answer(match, answers.unfinished())
            routes.append({**route, "typed_per_filter_config": acts("models")})
        one = answer({"safe_regex": {"regex": operations.MODEL}, "headers": asked}, answers.unfinished())
        routes.append({**one, "metadata": _shown(gateway), "typed_per_filter_config": acts("model")})
    return routes


def _usable(gateway: Gateway, consumer: str) -> list[str]:
    """The models of every rule that this consumer may use."""
    usable = [
        rule
        for rule in gateway.rules
        if rule.choices and (rule.consumers is None or consumer in rule.consumers)
    ]
    return list(dict.fromkeys(model for rule in usable for model in rule.models))


def _listed(gateway: Gateway, consumer: str) -> Answer:
    return answers.model_list(_usable(gateway, consumer))


def _shown(gateway: Gateway) -> Json:
    """`metadata` of the route for one model: what the script answers, by consumer (empty: everybody)."""
    names = [""] if gateway.anonymous is not None else [consumer.name for consumer in gateway.consumers]
    return show({name: _usable(gateway, name or gateway.anonymous or "") for name in names})


def _final(
    gateway: Gateway,
    match: Json,
    rule: PlannedRule,
    number: int,
    chains: dict[str, Chained],
) -> Json:
    choice = rule.choices[number]
    if rule.hop is None:
        route = _sent(match, rule, chains[choice.chain.label])
    else:
        route = {
            "name": rule.name,
            "match": match,
            "route": hop_action(rule, choice.chain),
            "metadata": served(rule),
            "request_headers_to_add": hop_headers(gateway, rule.name, rule.hop.calls[number]),
            "response_headers_to_add": [header("x-moltbot-rule", rule.name)],
        }
    filters = scope(rule) | learns(rule, choice)
    return {**route, "typed_per_filter_config": filters} if filters else route


def _sent(match: Json, rule: PlannedRule, chained: Chained) -> Json:
    """A route that leads to a chain of attempts."""
    chain = chained.chain
    action: Json = {
        "timeout": "0s",
        "idle_timeout": seconds(silence(rule.retry, chain)),
        "regex_rewrite": {
            "pattern": {"regex": operations.REWRITE},
            "substitution": operations.rewritten(chain.prefix),
        },
        "retry_policy": policy(rule.retry, chain),
    }
    if chain.direct:
        action["host_rewrite_literal"] = chain.first.host_header
    if chained.limit is None:
        action["cluster"] = chained.name
    else:
        action["cluster_specifier_plugin"] = plugin_name(chained)
    route: Json = {
        "name": rule.name,
        "match": match,
        "route": action,
        "response_headers_to_add": [header("x-moltbot-rule", rule.name)],
    }
    if chain.overlong:  # a compressed error can't be read
        route["request_headers_to_remove"] = ["accept-encoding"]
    return route
