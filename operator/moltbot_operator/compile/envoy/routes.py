"""Routes of the public listener.

::

    header x-mb-route (only the script sets it) ── exact map ──> final route of a choice, or a list of models
        └─ absent ──> what no rule decides: methods, no operation, models, jobs
                      then each rule's matches, in order (for operations on stored objects, each rule with the
                      one backend that keeps them):
                        scan    the rule asks for a model: the script reads the body, the table is asked again
                        draw    the script chooses, the table is asked again
                        final   nothing to choose: straight to the backend
                        answer  the rule is refused

A request for one of 1,000 drawn rules thus costs the walk along the entry routes and one look into a map.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
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
from moltbot_operator.compile.envoy.worker import JOB_METHODS, hop_action, hop_headers, job_routes
from moltbot_operator.compile.ir import Gateway, PlannedRule
from moltbot_operator.compile.patterns import PathCondition, RequestCondition

__all__ = ["answer", "drill_map", "entrance", "exact_map", "final_routes"]


def exact_map(name: str, routes: Mapping[str, Json | list[Json]], otherwise: list[Json] | Json) -> Json:
    """A matcher: the route with the header's value as its key.

    Without one, the first of the routes `otherwise` that matches, or what the matcher `otherwise` finds.
    """
    rest = _first_of(otherwise) if isinstance(otherwise, list) else {"matcher": otherwise}
    return {**(_by_value(name, routes) if routes else {}), "on_no_match": rest}


def entrance(gateway: Gateway, chains: dict[str, Chained]) -> Json:
    """A matcher: where a request goes that the script has not seen.

    What no rule decides comes first. One comparison tells that it does not concern a request of the operation
    that is called most.
    """
    if gateway.closed:
        return {"on_no_match": _first_of([answer({"prefix": "/"}, answers.closed())])}
    rules = _first_of(_entry_routes(gateway, gateway.rules, chains))
    common = {
        "and_matcher": {
            "predicate": [_is(":path", exact=operations.MOST_CALLED), _is(":method", exact="POST")]
        }
    }
    before = {"matcher_list": {"matchers": _before_rules(gateway, chains)}}
    others = {"predicate": {"not_matcher": common}, "on_match": {"matcher": before}}
    return {"matcher_list": {"matchers": [others]}, "on_no_match": rules}


def _before_rules(gateway: Gateway, chains: dict[str, Chained]) -> list[Json]:
    """Items of a matcher's list; where none holds, the rules are asked.

    The routes of an item take every request for which its predicate holds: there is no way back from them.
    """

    def asked(methods: Iterable[str], path: str) -> Json:
        predicates = [_is(":method", regex="|".join(methods)), _is(":path", regex=path)]
        return {"and_matcher": {"predicate": predicates}}

    no_operation = {"not_matcher": _is(":path", regex=operations.IS_OPERATION)}
    items = [
        (_is(":method", regex="|".join(_NO_METHODS)), [_no_method()]),
        (no_operation, [answer({"prefix": "/"}, answers.no_operation())]),
        (asked(_READING, operations.with_query(operations.MODELS)), _models(gateway)),
        (asked(_READING, operations.with_query(operations.MODEL)), _model(gateway)),
    ]
    if jobs := job_routes(gateway):
        items.append((asked(JOB_METHODS, operations.with_query(operations.JOB)), jobs))
    if any(rule.kept for rule in gateway.rules):
        kept = [rule.kept or rule for rule in gateway.rules]
        items.append((_is(":path", regex=operations.IS_STORED), _entry_routes(gateway, kept, chains)))
    return [{"predicate": predicate, "on_match": _first_of(routes)} for predicate, routes in items]


def _is(name: str, *, exact: str | None = None, regex: str | None = None) -> Json:
    """A matcher's predicate: what a request's header is, all of it."""
    read = typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
    value: Json = {"exact": exact} if regex is None else {"safe_regex": {"google_re2": {}, "regex": regex}}
    return {"single_predicate": {"input": {"name": "header", "typed_config": read}, "value_match": value}}


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


def _entry_routes(gateway: Gateway, rules: Sequence[PlannedRule], chains: dict[str, Chained]) -> list[Json]:
    """The rules, and what is said where none takes the request."""
    routes = []
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


def _no_method() -> Json:
    refused = answer({"prefix": "/"}, answers.no_method())
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


_READING: Final = ("GET", "HEAD")


def _models(gateway: Gateway) -> list[Json]:
    """The list of models; whose they are is only known after the consumer's key was looked at."""
    if gateway.anonymous is not None:
        return [answer({"prefix": "/"}, _listed(gateway, gateway.anonymous))]
    return [{**answer({"prefix": "/"}, answers.unfinished()), "typed_per_filter_config": acts("models")}]


def _model(gateway: Gateway) -> list[Json]:
    """One model, by the script."""
    one = answer({"prefix": "/"}, answers.unfinished())
    return [{**one, "metadata": _shown(gateway), "typed_per_filter_config": acts("model")}]


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
