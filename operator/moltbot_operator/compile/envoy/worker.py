"""The way by the worker, for rules that ask for what Envoy can't do.

::

    public listener ─► composite `hop`
        attempt 1 ─► a worker ─► worker listener ─┐ (workers show the secret)
        attempt 2 ─► bypass listener (internal) ──┴─► the rule's chain, with all of its failover ─► provider

Attempt 2 is made only where the worker could not be reached, was cut before its headers, or says itself that
it had no part; workers that fail their health check are passed over within attempt 1. So with all workers
dead requests lose the feature and nothing else, and whatever a worker answers is final: its call has been
through the whole chain already. Both listeners behind it have the same routes.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from moltbot_operator.api.endpoint import is_ip_address
from moltbot_operator.compile import answers, operations
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.clusters import Chained
from moltbot_operator.compile.envoy.overflow import plugin_name
from moltbot_operator.compile.envoy.proto import Json, exact, extension, header, regex, seconds
from moltbot_operator.compile.envoy.retry import policy, silence
from moltbot_operator.compile.envoy.script import writes_model
from moltbot_operator.compile.envoy.upstream import breakers, with_secret
from moltbot_operator.compile.ir import Chain, Gateway, Hop, PlannedRule, Retry
from moltbot_operator.compile.worker_secret import SDS_FILE, SDS_NAME, USERS_FILE
from moltbot_operator.constants import BUFFER_BYTES

__all__ = [
    "JOB_METHODS",
    "authenticated",
    "called_routes",
    "hop_action",
    "hop_clusters",
    "hop_headers",
    "job_routes",
]

_LONGEST: Final = timedelta(minutes=10)
"""How long a worker may take until its headers, at least: an answer may be held until it is whole."""

_LOOKED_AT: Final = timedelta(seconds=2)
"""How often each worker is asked whether it is ready."""


def authenticated(gateway: Gateway) -> Json:
    """The filter of the worker listener: only who shows the secret comes in."""
    return extension(
        "envoy.filters.http.basic_auth",
        "extensions.filters.http.basic_auth.v3.BasicAuth",
        users={"filename": f"{gateway.files.worker.secret}/{USERS_FILE}"},
        authentication_header=names.KEY,
    )


def hop_action(rule: PlannedRule, chain: Chain) -> Json:
    """`route` of a final route that leads to the worker first."""
    wait = max(_LONGEST, 2 * silence(rule.retry, chain))
    return {
        "cluster": names.HOP,
        "timeout": "0s",
        "idle_timeout": seconds(wait + timedelta(seconds=5)),
        "regex_rewrite": _rewrite("/v1"),
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset,retriable-headers",
            "num_retries": 1,
            "retriable_headers": [exact(names.FAULT, "worker")],
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
            "per_try_timeout": seconds(wait),
        },
    }


def hop_headers(gateway: Gateway, rule: str, route: str) -> list[Json]:
    """`request_headers_to_add` of such a route: what the worker is told."""
    return [*_consumer(gateway), header(names.RULE, rule), header(names.ROUTE, route)]


def _consumer(gateway: Gateway) -> list[Json]:
    return [header(names.CONSUMER, gateway.anonymous or f"%FILTER_STATE({names.STATE_CONSUMER}:PLAIN)%")]


JOB_METHODS: Final = ("DELETE", "GET")
"""What may be asked of a job."""


def job_routes(gateway: Gateway) -> list[Json]:
    """Entry routes of `/v1/jobs/{id}`, where a rule takes jobs; only a worker knows them."""
    if not any(rule.hop is not None and rule.hop.features.jobs for rule in gateway.worked):
        return []
    return [
        {
            "name": "jobs",
            "match": {
                "safe_regex": {"regex": operations.JOB},
                "headers": [exact(":method", method)],
            },
            "route": {
                "cluster": names.WORKER,
                "timeout": "30s",
                "regex_rewrite": _rewrite("/v1"),
                "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2},
            },
            "request_headers_to_add": _consumer(gateway),
        }
        for method in JOB_METHODS
    ]


def _rewrite(prefix: str) -> Json:
    return {"pattern": {"regex": operations.REWRITE}, "substitution": operations.rewritten(prefix)}


def called_routes(
    gateway: Gateway, chains: Mapping[str, Chained]
) -> tuple[dict[str, Json | list[Json]], list[Json]]:
    """Routes behind the worker: by the final route that was drawn; and by one backend that is to be asked."""
    drawn: dict[str, Json | list[Json]] = {}
    alone: list[Json] = []
    for rule in gateway.worked:
        hop = rule.hop
        if hop is None:
            continue
        for number, (name, choice) in enumerate(zip(hop.calls, rule.choices, strict=True)):
            route = _called({"prefix": "/"}, rule, rule.retry, chains[choice.chain.label])
            drawn[name] = [*_spoken(rule, hop, number, chains), route] if hop.native else route
        alone += _alone(rule, hop, chains)
    return drawn, [*alone, {"match": {"prefix": "/"}, "direct_response": _nowhere()}]


def _spoken(rule: PlannedRule, hop: Hop, number: int, chains: Mapping[str, Chained]) -> Iterator[Json]:
    """By API, only those backends that speak it: nothing behind a worker translates."""
    for schema, native in hop.native.items():
        match = {"prefix": "/", "headers": [regex(":path", operations.SPOKEN[schema])]}
        chain = native[number]
        if chain is not None:
            yield _called(match, rule, rule.retry, chains[chain.label])
            continue
        said = answers.untranslated(rule.name)
        yield {
            "name": rule.name,
            "match": match,
            "direct_response": {"status": said.status, "body": {"inline_string": said.body}},
            "response_headers_to_add": [header("retry-after", str(said.retry_after))],
        }


def _alone(rule: PlannedRule, hop: Hop, chains: Mapping[str, Chained]) -> list[Json]:
    never = Retry(0, frozenset(), rule.retry.base, rule.retry.maximum, rule.retry.per_try)
    made = []
    for label, chain in hop.alone.items():
        asked = [exact(names.RULE, rule.name), exact(names.BACKEND, label)]
        made.append(_called({"prefix": "/", "headers": asked}, rule, never, chains[chain.label]))
    return made


def _nowhere() -> Json:
    said = answers.no_rule()
    return {"status": said.status, "body": {"inline_string": said.body}}


def _called(match: Json, rule: PlannedRule, retry: Retry, chained: Chained) -> Json:
    """As a final route of the public listener, with the model written by the script on the way."""
    chain = chained.chain
    action: Json = {
        "timeout": "0s",
        "idle_timeout": seconds(silence(retry, chain)),
        "regex_rewrite": _rewrite(chain.prefix),
        "retry_policy": policy(retry, chain),
    }
    if chain.direct:
        action["host_rewrite_literal"] = chain.first.host_header
    if chained.limit is None:
        action["cluster"] = chained.name
    else:
        action["cluster_specifier_plugin"] = plugin_name(chained)
    route: Json = {"name": rule.name, "match": match, "route": action}
    if chain.overlong:  # a compressed error can't be read
        route["request_headers_to_remove"] = ["accept-encoding"]
    if chain.model is not None:
        route["typed_per_filter_config"] = writes_model(chain.model)
    return route


def hop_clusters(gateway: Gateway) -> list[Json]:
    """The workers, the way round them, and one after the other."""
    if not gateway.worked:
        return []
    return [_workers(gateway), _bypass(), _hop(gateway)]


def _workers(gateway: Gateway) -> Json:
    """By address, or by the name of the revision's own Service, which revision.py puts in."""
    addresses = gateway.files.worker.addresses
    ports = gateway.files.worker
    endpoints = [_worker(each.host, each.port, each.metrics_port) for each in addresses]
    named = not addresses or not all(is_ip_address(each.host) for each in addresses)
    check = {
        "timeout": "1s",
        "interval": seconds(_LOOKED_AT),
        "no_traffic_interval": seconds(_LOOKED_AT),
        "no_traffic_healthy_interval": seconds(_LOOKED_AT),
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/readyz"},
    }
    return {
        "name": names.WORKER,
        "type": "STRICT_DNS" if named else "STATIC",
        **({"dns_lookup_family": "V4_PREFERRED", "respect_dns_ttl": True} if named else {}),
        "lb_policy": "LEAST_REQUEST",
        "connect_timeout": "0.500s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "load_assignment": {
            "cluster_name": names.WORKER,
            "endpoints": [
                {"lb_endpoints": endpoints or [_worker(names.WORKER, ports.port, ports.metrics_port)]}
            ],
        },
        "health_checks": [check],
        "ignore_health_on_host_removal": True,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": with_secret(SDS_NAME, _sds(gateway), names.KEY),
        "circuit_breakers": breakers(),
    }


def _worker(host: str, port: int, metrics_port: int) -> Json:
    address = {"socket_address": {"address": host, "port_value": port}}
    endpoint = {"address": address, "health_check_config": {"port_value": metrics_port}}
    return {"endpoint": endpoint, "metadata": _part(names.WORKER)}


def _part(name: str) -> Json:
    """What records of attempts call it."""
    return {"filter_metadata": {names.NAMESPACE: {names.PART: f"({name})"}}}


def _bypass() -> Json:
    address = {"envoy_internal_address": {"server_listener_name": names.BYPASS, "endpoint_id": names.BYPASS}}
    endpoint = {"endpoint": {"address": address}, "metadata": _part(names.BYPASS)}
    return {
        "name": names.BYPASS,
        "type": "STATIC",
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "load_assignment": {
            "cluster_name": names.BYPASS,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "circuit_breakers": breakers(),
    }


def _hop(gateway: Gateway) -> Json:
    return {
        "name": names.HOP,
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": extension(
            "envoy.clusters.composite",
            "extensions.clusters.composite.v3.ClusterConfig",
            clusters=[{"name": names.WORKER}, {"name": names.BYPASS}],
        ),
        "typed_extension_protocol_options": with_secret(SDS_NAME, _sds(gateway), names.KEY),
        "circuit_breakers": breakers(),
    }


def _sds(gateway: Gateway) -> str:
    return f"{gateway.files.worker.secret}/{SDS_FILE}"
