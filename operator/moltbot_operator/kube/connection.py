"""How to reach the API server: its address, TLS, and an Authorization header that is never stale.

One place for all: our client and kopf get their HTTP sessions from here, so both follow the same kubeconfig,
both survive the rotation of a pod's token (the kubelet renews the file; a token lives for an hour), and the
calls of both are counted.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import aiohttp
import structlog
import yaml
from kubernetes.aio import config as loaders
from kubernetes.aio.client import Configuration
from yarl import URL

from moltbot_agent.trust import trusting
from moltbot_operator.errors import ClusterError
from moltbot_operator.settings import product_version

__all__ = ["ApiCall", "Connection", "Observer"]

TOKEN_AGE: Final = timedelta(minutes=1)
"""How old a token read from a kubeconfig may get before it is read again (its plugin asked again)."""

DEFAULT_KUBECONFIG: Final = Path("~/.kube/config")

_UNREADABLE: Final = (loaders.ConfigException, OSError, yaml.YAMLError, TypeError, AttributeError, ValueError)
"""What the loader raises for a kubeconfig or token that is absent, empty or of another shape."""

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class ApiCall:
    """One answered call; `status` 0: no answer. A watch is over, in this sense, when it has begun."""

    verb: str
    resource: str
    """Plural, with a subresource: `deployments`, `moltbotroutes/status`; "" for discovery."""
    path: str
    status: int
    duration: timedelta

    @classmethod
    def of(cls, method: str, url: URL, status: int, duration: timedelta) -> Self:
        """Read verb and resource from a request, as the API server's own metrics do."""
        parts = url.path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if rest[:1] == ["namespaces"] and len(rest) > 2:  # noqa: PLR2004
            rest = rest[2:]
        verb = _VERBS.get(method) or ("get" if len(rest) > 1 else "list")
        if url.query.get("watch") == "true":
            verb = "watch"
        resource = "/".join(rest[:1] + rest[2:3])
        return cls(verb, resource, url.path, status, duration)


Observer = Callable[[ApiCall], None]


class Connection:
    """Address and credentials of the API server; makes HTTP sessions that carry them."""

    def __init__(self, configuration: Configuration, kubeconfig: Path | None) -> None:
        """Use `open`. `kubeconfig` None: `configuration` is a pod's and renews its token by itself."""
        self._configuration = configuration
        self._kubeconfig = kubeconfig
        self._read_at = asyncio.get_running_loop().time()
        self._last: str | None = None

    @classmethod
    async def open(cls, kubeconfig: str = "") -> Self:
        """By the kubeconfig if one is named, else as a pod, else by ~/.kube/config; ClusterError."""
        configuration = Configuration()
        try:
            if not kubeconfig:
                try:
                    loaders.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                    return cls(configuration, None)
                except loaders.ConfigException:
                    kubeconfig = str(DEFAULT_KUBECONFIG.expanduser())
            await _load(kubeconfig, configuration)
        except _UNREADABLE as error:
            raise ClusterError(
                f"no way to the API server: {error} (kubeconfig {kubeconfig}); "
                "set KUBECONFIG, or run as a pod with a service account"
            ) from error
        return cls(configuration, Path(kubeconfig))

    @property
    def server(self) -> str:
        """URL of the API server, without a trailing slash."""
        return str(self._configuration.host).rstrip("/")

    def session(self, observe: Observer | None = None, *, user: str = "") -> aiohttp.ClientSession:
        """A new session, the caller's to close; `observe` is told of every call, User-Agent names `user`."""

        async def authorize(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            if (authorization := await self._authorization()) is not None:
                request.headers["Authorization"] = authorization
            if self._configuration.tls_server_name:
                request.server_hostname = self._configuration.tls_server_name
            loop = asyncio.get_running_loop()
            began, status = loop.time(), 0
            try:
                response = await handler(request)
                status = response.status
            finally:
                if observe is not None:
                    taken = timedelta(seconds=loop.time() - began)
                    observe(ApiCall.of(request.method, request.url, status, taken))
            return response

        agent = f"moltbot-operator/{product_version()}" + (f" ({user})" if user else "")
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls()),
            headers={"User-Agent": agent},
            middlewares=(authorize,),
            proxy=self._configuration.proxy,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _tls(self) -> ssl.SSLContext | bool:
        if not self.server.startswith("https"):
            return True
        context = trusting(self._configuration.ssl_ca_cert)
        if self._configuration.cert_file:
            context.load_cert_chain(self._configuration.cert_file, self._configuration.key_file)
        if not self._configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def _authorization(self) -> str | None:
        """The header, fresh; while its source can't be read, the last one: it may well be valid still."""
        try:
            if self._kubeconfig is not None and self._configuration.api_key and self._token_age() > TOKEN_AGE:
                self._read_at = asyncio.get_running_loop().time()
                fresh = Configuration()
                await _load(str(self._kubeconfig), fresh)
                self._configuration = fresh
            token = await self._configuration.get_api_key_with_prefix("BearerToken")
        except _UNREADABLE as error:
            structlog.get_logger(__name__).warning("token not read again, using the last", error=str(error))
            return self._last
        self._last = token and token.strip()
        return self._last

    def _token_age(self) -> timedelta:
        return timedelta(seconds=asyncio.get_running_loop().time() - self._read_at)


async def _load(kubeconfig: str, configuration: Configuration) -> None:
    await loaders.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=kubeconfig, client_configuration=configuration, persist_config=False
    )
