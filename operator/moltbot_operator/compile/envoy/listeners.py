"""Listeners: the public one, the inner tier behind it, and the one that answers readiness probes."""

from collections.abc import Sequence
from typing import Any

from moltbot_agent.attempts import NAMED, upstream_log
from moltbot_operator.compile.drill import DRILL_HEADER
from moltbot_operator.compile.envoy import access, names
from moltbot_operator.compile.envoy.clusters import Chained
from moltbot_operator.compile.envoy.consumer_limits import limit_filters
from moltbot_operator.compile.envoy.log import access_log, attempt_log, served_by
from moltbot_operator.compile.envoy.overflow import inner_plugin, inner_plugin_name, plugins
from moltbot_operator.compile.envoy.proto import Json, exact, extension, header
from moltbot_operator.compile.envoy.rates import rate_counted, rate_filter, rate_filter_awake
from moltbot_operator.compile.envoy.replies import inner_replies, public_replies
from moltbot_operator.compile.envoy.retry import limits
from moltbot_operator.compile.envoy.routes import (
    drill_map,
    entrance,
    exact_map,
    final_routes,
)
from moltbot_operator.compile.envoy.script import script, tasks, writes_model
from moltbot_operator.compile.envoy.shown import shown_certificate
from moltbot_operator.compile.envoy.task import task_header
from moltbot_operator.compile.envoy.usage import usage_filter
from moltbot_operator.compile.envoy.worker import authenticated, called_routes
from moltbot_operator.compile.ir import PROBE_CONSUMER, Gateway
from moltbot_operator.constants import BUFFER_BYTES

__all__ = [
    "bypass_listener",
    "inner_listener",
    "probe_listener",
    "public_listener",
    "ready_listener",
    "worker_listener",
]

_NEVER_SENT_ON = (
    names.CONSUMER,
    names.INNER,
    names.MODEL,
    names.ROUTE,
    names.TASK,
    DRILL_HEADER,
    "cookie",
    "forwarded",
    "openai-organization",
    "openai-project",
    "proxy-authorization",
    "x-moltbot-task",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
)
"""Request headers that no provider gets, beside all credentials: ours, and who and where the client is."""

_OF_WORKERS = (names.BACKEND, names.KEY, names.RULE)
"""The same, where there are workers."""


def _removed(gateway: Gateway) -> set[str]:
    return {*_NEVER_SENT_ON, *(_OF_WORKERS if gateway.worked else ())}


def _manager(
    prefix: str,
    filters: list[Json],
    virtual_host: Json,
    routes: Json,
    attempts: list[Json] | None = None,
    *,
    counted: bool = True,
    **more: Any,
) -> Json:
    router = extension(
        "envoy.filters.http.router",
        "extensions.filters.http.router.v3.Router",
        suppress_envoy_headers=True,
        dynamic_stats=False,
        upstream_log=[*(upstream_log() if counted else ()), *(attempts or ())],
    )
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=prefix,
        server_header_transformation="PASS_THROUGH",
        http_filters=[*filters, router],
        route_config={
            "name": prefix,
            **routes,
            "virtual_hosts": [{"name": prefix, "domains": ["*"], **virtual_host}],
        },
        stream_idle_timeout="300s",
        **more,
    )


def _mutations(*mutations: Json) -> list[Json]:
    return [
        extension(
            "envoy.http.early_header_mutation.header_mutation",
            "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            mutations=list(mutations),
        )
    ]


def _remember(key: str, value: str) -> Json:
    state = {
        "object_key": key,
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": value}},
        "skip_if_empty": True,
    }
    return extension(
        "envoy.filters.http.set_filter_state",
        "extensions.filters.http.set_filter_state.v3.Config",
        on_request_headers=[state],
    )


def public_listener(gateway: Gateway, chains: dict[str, Chained]) -> Json:
    """Where clients come in: strip, authenticate, match and draw, authorise, route."""
    filters = []
    if gateway.consumers:
        filters += access.authentication(gateway)
        filters.append(_remember(names.STATE_CONSUMER, f"%REQ({names.CONSUMER})%"))
    filters += limit_filters(gateway)
    manager = _entrance(names.PUBLIC, gateway, chains, filters, _matcher(gateway, chains))
    files, tls = gateway.files, shown_certificate(gateway)
    return _listener(names.PUBLIC, files.listen_address, files.gateway_port, manager, **tls)


def probe_listener(gateway: Gateway, chains: dict[str, Chained], drilled: dict[str, Chained]) -> Json:
    """Where the operator's test requests come in, with a key of their own instead of a consumer's.

    The same rules lead to the same backends; nobody's limits and scopes apply, and nothing is counted as a
    client's. A listener of its own costs clients nothing, and there is nothing about test requests in the
    public one that could be feigned.
    """
    opened = gateway.opened(PROBE_CONSUMER)
    matcher = drill_map(opened, drilled, _matcher(opened, chains))
    manager = _entrance(names.PROBE, opened, chains, access.probe_authentication(gateway), matcher)
    return _listener(names.PROBE, gateway.files.listen_address, gateway.files.probe_port, manager)


def _matcher(gateway: Gateway, chains: dict[str, Chained]) -> Json:
    return exact_map(names.ROUTE, final_routes(gateway, chains), entrance(gateway, chains))


def _entrance(
    name: str, gateway: Gateway, chains: dict[str, Chained], admission: list[Json], matcher: Json
) -> Json:
    """The way from a listener to the backends; `admission`: filters that say who may enter."""
    counted = name == names.PUBLIC
    filters = [_remember(names.STATE_PATH, "%PATH(NQ)%"), *admission]
    filters += [script("public.lua"), *usage_filter(gateway)]
    if any(rule.consumers is not None for rule in gateway.rules):
        filters.append(access.scope_filter())
    virtual_host = {
        "matcher": matcher,
        "request_headers_to_remove": sorted({*gateway.credential_headers, *_removed(gateway)}),
        "response_headers_to_remove": [names.FAULT, names.LAST, names.SAID, names.WAIT],
        "response_headers_to_add": [
            header("x-moltbot-backend", served_by(gateway)),
            header("x-moltbot-attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
            *task_header(gateway),
        ],
        **tasks(gateway),
    }
    return _manager(
        name,
        filters,
        virtual_host,
        {
            "max_direct_response_body_size_bytes": BUFFER_BYTES,
            "cluster_specifier_plugins": plugins(chains),
            # what is removed for providers is then given to workers
            **({"most_specific_header_mutations_wins": True} if gateway.worked else {}),
        },
        attempt_log(gateway, counted=counted),
        counted=counted,
        use_remote_address=True,
        skip_xff_append=True,
        always_set_request_id_in_response=True,
        preserve_external_request_id=True,
        normalize_path=True,
        path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD",
        early_header_mutation_extensions=_mutations(
            {"remove_on_match": {"key_matcher": {"prefix": names.PREFIX}}},
            {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}},
        ),
        request_headers_timeout="30s",
        local_reply_config=public_replies(gateway),
        access_log=access_log(gateway, counted=counted),
    )


def _listener(name: str, address: str, port: int, manager: Json, **chain: Any) -> Json:
    return {
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"filters": [manager], **chain}],
    }


def worker_listener(gateway: Gateway, chains: dict[str, Chained]) -> Json:
    """Where workers call back: straight to the chosen candidates, and never to a worker again."""
    manager = _behind_workers(names.LISTENER_WORKER, gateway, chains, [authenticated(gateway)])
    return _listener(
        names.LISTENER_WORKER, gateway.files.listen_address, gateway.files.worker.listen_port, manager
    )


def bypass_listener(gateway: Gateway, chains: dict[str, Chained]) -> Json:
    """The same for requests that no worker took; only this very process reaches it."""
    return _internal(names.BYPASS, _behind_workers(names.BYPASS, gateway, chains, []))


def _behind_workers(prefix: str, gateway: Gateway, chains: dict[str, Chained], filters: list[Json]) -> Json:
    """The public listener has checked and recorded the call: here only attempts are recorded."""
    drawn, otherwise = called_routes(gateway, chains)
    return _manager(
        prefix,
        [*filters, script("inner.lua")],
        {
            "matcher": exact_map(names.ROUTE, drawn, otherwise),
            "request_headers_to_remove": sorted({*gateway.credential_headers, *_removed(gateway)}),
            "response_headers_to_remove": [names.FAULT, names.LAST, names.SAID, names.WAIT],
            "response_headers_to_add": [
                header("x-moltbot-backend", NAMED),
                header("x-moltbot-attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
            ],
        },
        {"max_direct_response_body_size_bytes": BUFFER_BYTES, "cluster_specifier_plugins": plugins(chains)},
        attempt_log(gateway, counted=False),
        preserve_external_request_id=True,
        generate_request_id=False,
        local_reply_config=public_replies(gateway),
    )


def _internal(name: str, manager: Json) -> Json:
    return {
        "name": name,
        "internal_listener": {},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"filters": [manager]}],
    }


def inner_listener(gateway: Gateway, chains: Sequence[Chained]) -> Json:
    """Where attempts pass that go to another backend than the request was made ready for.

    Credentials are removed, host, path prefix and model become the other backend's, and its cluster injects
    its own credential.
    """
    entries = {entry.endpoint_id: entry for chain in chains for entry in chain.inner}
    routes = {key: _inner_route(entries[key]) for key in sorted(entries)}
    asked = {entry.backend.label: entry.backend for entry in entries.values()}
    limited = {
        label: inner_plugin(backend, backend.limit)
        for label, backend in asked.items()
        if backend.limit is not None
    }
    used = {backend.credential for chain in chains for backend in chain.chain.backends}
    manager = _manager(
        names.LISTENER_INNER,
        [*rate_filter(asked.values()), script("inner.lua")],
        {
            "matcher": exact_map(names.INNER, routes, []),
            "request_headers_to_remove": sorted(
                {*(each.header for each in used if each), *_removed(gateway)}
            ),
        },
        {"cluster_specifier_plugins": [limited[label] for label in sorted(limited)]},
        generate_request_id=False,
        early_header_mutation_extensions=_mutations(
            {"append": header(names.INNER, "%DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID%")}
        ),
        local_reply_config=inner_replies(),
    )
    return _internal(names.LISTENER_INNER, manager)


def _inner_route(entry: names.Entry) -> Json:
    backend = entry.backend
    action: Json = {
        "timeout": "0s",
        "idle_timeout": "0s",
        "prefix_rewrite": f"{backend.prefix}/",
        "host_rewrite_literal": backend.host_header,
        "retry_policy": {"num_retries": 0, **limits(entry.again or backend.first_byte, backend.idle)},
    }
    if entry.cut:
        action["cluster"] = names.CUT
    elif backend.limit is None:
        action["cluster"] = names.upstream(backend)
    else:
        action["cluster_specifier_plugin"] = inner_plugin_name(backend)
    if backend.rate is not None:
        action["rate_limits"] = rate_counted(backend)
    route: Json = {"name": backend.label, "match": {"prefix": f"{entry.prefix}/"}, "route": action}
    if entry.again is not None:
        seconds_to_wait = header(names.WAIT, "%RESP(RETRY-AFTER)%")
        route["response_headers_to_add"] = [header(names.LAST, "1"), seconds_to_wait]
    own = {
        **(writes_model(backend.model) if backend.model is not None else {}),
        **(rate_filter_awake() if backend.rate is not None else {}),
    }
    return {**route, "typed_per_filter_config": own} if own else route


def ready_listener(gateway: Gateway) -> Json:
    """GET /ready: 200, and 503 as soon as draining starts."""
    check = extension(
        "envoy.filters.http.health_check",
        "extensions.filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[exact(":path", "/ready")],
    )
    router = extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")
    nothing = {
        "name": "nothing",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}],
    }
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="ready",
        http_filters=[check, router],
        route_config={"name": "ready", "virtual_hosts": [nothing]},
    )
    return _listener("ready", gateway.files.listen_address, gateway.files.ready_port, manager)
