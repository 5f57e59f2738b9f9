"""A small real gateway: Envoy with a static bootstrap, the agent's files, and simulated providers."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from agent_environment import ENVIRONMENT, ROOT

sys.path.insert(0, str(ROOT / "tests" / "provider"))

from free_ports import free_port

from moltbot_agent.attempts import histogram_settings, upstream_log
from moltbot_agent.config import AgentConfig, ConsumerKeys, Consumers, Credential, pack
from moltbot_agent.deliveries import Deliveries
from moltbot_agent.envoy import arguments_for, binary

HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
UPSTREAM = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CONSUMERS_TEMPLATE = {
    "@type": f"{FILTERS}.api_key_auth.v3.ApiKeyAuth",
    "key_sources": [{"header": "Authorization"}],
    "forwarding": {"header": "x-client", "hide_credentials": True},
}


async def until(condition, seconds: float = 10.0, what: str = "the condition") -> None:
    """Wait for `condition()` (may be async) with a deadline."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        met = condition()
        if asyncio.iscoroutine(met):
            met = await met
        if met:
            return
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true in {seconds} s"
        await asyncio.sleep(0.02)


@dataclass
class Gateway:
    """Files and ports of one gateway; two backends, `one` first with one retry on `two`'s priority."""

    folder: Path
    backends: dict[str, int]
    """Name → port of its provider."""
    consumers: tuple[str, ...] = ()
    revision: str = "abcdef0123"
    port: int = field(default_factory=free_port)
    ready_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    evidence_port: int = field(default_factory=free_port)
    drain_port: int = field(default_factory=free_port)
    envoy_log: str = ""
    """What Envoy logged at level error, once it ended."""

    def __post_init__(self) -> None:
        for name in ("config", "run", "credentials", "consumers"):
            (self.folder / name).mkdir(exist_ok=True)
        self.token = self.folder / "token"
        self.token.write_text("evidence-token\n")
        for backend in self.backends:
            self.secret(f"credentials/{backend}", {"token": f"key-of-{backend}\n"})

    def secret(self, name: str, data: dict[str, str | bytes]) -> None:
        """Mount a Secret as the kubelet does: a new folder, then one rename of `..data`."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        version = folder / f"..{len(list(folder.iterdir()))}_{os.urandom(4).hex()}"
        version.mkdir()
        for key, value in data.items():
            (version / key).write_bytes(value if isinstance(value, bytes) else value.encode())
        link = folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(folder / "..data")
        for entry in list(folder.iterdir()):
            if not entry.name.startswith("..") and entry.name not in data:
                entry.unlink()
        for key in data:
            if not (folder / key).is_symlink():
                (folder / key).symlink_to(f"..data/{key}")

    @property
    def config(self) -> AgentConfig:
        run = self.folder / "run"
        consumers = None
        if self.consumers:
            consumers = Consumers(
                target=run / "consumers.json",
                resource="consumers",
                keys=tuple(ConsumerKeys(consumer=name, source=self.keys(name)) for name in self.consumers),
                template=CONSUMERS_TEMPLATE,
            )
        return AgentConfig(
            namespace="team",
            route="chat",
            revision=self.revision,
            admin_port=self.admin_port,
            bootstrap=run / "envoy.json",
            credentials=tuple(self.credential(name) for name in self.backends),
            consumers=consumers,
            clusters={f"up_{name}": f"team/{name}" for name in self.backends},
        )

    def keys(self, consumer: str) -> Path:
        return self.folder / "consumers" / consumer

    def credential(self, backend: str) -> Credential:
        return Credential(
            name=f"credential/{backend}",
            backend=f"team/{backend}",
            source=self.folder / "credentials" / backend / "token",
            target=self.folder / "run" / f"{backend}.json",
            prefix="Bearer ",
        )

    @property
    def bootstrap(self) -> dict:
        route = {"match": {"prefix": "/"}, "route": {"cluster": "up_one", "timeout": "0s"}}
        route["route"]["retry_policy"] = {"retry_on": "5xx,connect-failure,reset", "num_retries": 1}
        filters = [{"name": "envoy.filters.http.router", "typed_config": self._router()}]
        if self.consumers:
            source = {
                "path_config_source": {"path": str(self.config.consumers.target)},
                "resource_api_version": "V3",
            }
            discovery = {"config_source": source, "type_urls": [CONSUMERS_TEMPLATE["@type"]]}
            filters.insert(0, {"name": "consumers", "config_discovery": discovery})
        ready = {
            "@type": f"{FILTERS}.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": "/ready"}}],
        }
        ready_filters = [{"name": "envoy.filters.http.health_check", "typed_config": ready}, filters[-1]]
        return {
            "node": {"id": "chat", "cluster": "chat", "metadata": {"revision": self.revision}},
            "admin": {"address": _address(self.admin_port)},
            "stats_flush_interval": "0.2s",  # histograms are merged at each flush
            "stats_config": {"histogram_bucket_settings": histogram_settings()},
            "static_resources": {
                "listeners": [
                    _listener("public", self.port, filters, [route]),
                    _listener("ready", self.ready_port, ready_filters, []),
                ],
                "clusters": [self._cluster(name, port) for name, port in self.backends.items()],
            },
        }

    def _router(self) -> dict:
        return {
            "@type": f"{FILTERS}.router.v3.Router",
            "dynamic_stats": False,
            "upstream_log": upstream_log(),
        }

    def _cluster(self, name: str, port: int) -> dict:
        credential = self.credential(name)
        source = {"path_config_source": {"path": str(credential.target)}, "resource_api_version": "V3"}
        generic = {
            "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
            "credential": {"name": credential.name, "sds_config": source},
            "header": "authorization",
        }
        injector = {
            "@type": f"{FILTERS}.credential_injector.v3.CredentialInjector",
            "overwrite": True,
            "credential": {"name": "generic", "typed_config": generic},
        }
        codec = {"@type": f"{FILTERS}.upstream_codec.v3.UpstreamCodec"}
        endpoint = {"endpoint": {"address": _address(port), "hostname": name}}
        return {
            "name": f"up_{name}",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": f"up_{name}", "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": UPSTREAM,
                    "explicit_http_config": {"http_protocol_options": {}},
                    "http_filters": [
                        {"name": "envoy.filters.http.credential_injector", "typed_config": injector},
                        {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
                    ],
                }
            },
        }

    def write_parts(self) -> None:
        for number, part in enumerate(pack(self.config, self.bootstrap, part_bytes=700)):
            (self.folder / "config" / f"part-{number:03}").write_bytes(part)

    def deliveries(self) -> Deliveries:
        return Deliveries(self.config, self.bootstrap)

    @contextlib.asynccontextmanager
    async def envoy(self):
        """Envoy on the files that are there; killed at the end."""
        process = await asyncio.create_subprocess_exec(
            str(binary()), *arguments_for(self.config.bootstrap, 1, "error"), stderr=asyncio.subprocess.PIPE
        )
        try:
            await until(lambda: self.is_ready(process), 60, "Envoy's readiness")
            yield process
        finally:
            await end(process)
            self.envoy_log = (await process.stderr.read()).decode()

    async def is_ready(self, process) -> bool:
        if process.returncode is not None:
            pytest.fail(f"Envoy ended: {(await process.stderr.read()).decode()[-2000:]}")
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"http://127.0.0.1:{self.ready_port}/ready") as got,
            ):
                return got.status == 200
        return False

    @contextlib.asynccontextmanager
    async def agent(self, *arguments: str, module: str = "moltbot_agent"):
        """The agent (or what `module` starts it by) as a process of its own; ended by SIGTERM."""
        self.write_parts()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, "--config", str(self.folder / "config")),
            *("--evidence-token", str(self.token), "--host", "127.0.0.1", "--poll-s", "0.05"),
            *("--metrics-port", str(self.metrics_port), "--evidence-port", str(self.evidence_port)),
            *("--drain-port", str(self.drain_port), *arguments),
            stderr=asyncio.subprocess.PIPE,
            env=ENVIRONMENT,
        )
        try:
            yield process
        finally:
            await end(process)

    async def healthy(self, client: aiohttp.ClientSession, agent) -> None:
        """Wait until the agent says so; fails with its log where it ended."""

        async def is_healthy() -> bool:
            if agent.returncode is not None:
                pytest.fail(f"the agent ended: {(await agent.stderr.read()).decode()[-2000:]}")
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(f"http://127.0.0.1:{self.metrics_port}/healthz") as response:
                    return response.status == 200
            return False

        await until(is_healthy, 60, "the agent's health")

    def url(self, path: str = "/v1/chat/completions") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


async def end(process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def _address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(name: str, port: int, filters: list, routes: list) -> dict:
    hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
    connection_manager = {
        "@type": HTTP,
        "stat_prefix": name,
        "http_filters": filters,
        "route_config": {"name": name, "virtual_hosts": hosts},
    }
    chain = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": chain}]}


@pytest.fixture
def make_gateway(tmp_path):
    def make(backends=None, **settings) -> Gateway:
        return Gateway(tmp_path, backends or {"one": free_port()}, **settings)

    return make


@pytest.fixture
async def client():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def eventually():
    return until


@pytest.fixture
def environment():
    """Environment of a process that imports the agent."""
    return ENVIRONMENT
