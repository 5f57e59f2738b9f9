"""How commands find the cluster and the namespace: as kubectl does, by the kubeconfig's current context."""

from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from moltbot_operator.errors import InvalidInput, NotFound
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import MODEL_BACKEND, MOLTBOT_ROUTE, Kind
from moltbot_operator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moltbot_operator.kube.client import KubeCluster

__all__ = ["cluster", "find", "namespace_of"]

TIMEOUT: Final = timedelta(seconds=15)
"""Limit of one call to the API server."""

_NAMES: Final = {
    "moltbotroute": MOLTBOT_ROUTE,
    "moltbotroutes": MOLTBOT_ROUTE,
    "mbr": MOLTBOT_ROUTE,
    "route": MOLTBOT_ROUTE,
    "modelbackend": MODEL_BACKEND,
    "modelbackends": MODEL_BACKEND,
    "mb": MODEL_BACKEND,
    "backend": MODEL_BACKEND,
}
"""As kubectl takes them; docs/pipelines.md says which."""


@asynccontextmanager
async def cluster() -> "AsyncIterator[KubeCluster]":
    """A client of the cluster that KUBECONFIG names (else: the pod's, else ~/.kube/config); ClusterError."""
    from moltbot_operator.kube.client import KubeCluster  # noqa: PLC0415 - commands start faster
    from moltbot_operator.kube.connection import Connection  # noqa: PLC0415

    connection = await Connection.open(Settings.from_env().kubeconfig)
    async with connection.session(user="moltbot") as session:
        yield KubeCluster(session, connection.server, timeout=TIMEOUT, identity="moltbot")


def namespace_of(given: str | None) -> str:
    """The namespace given, else the current context's, else `default`."""
    if given:
        return given
    named = Settings.from_env().kubeconfig or "~/.kube/config"
    try:
        document: Any = yaml.safe_load(Path(named).expanduser().read_text(encoding="utf-8"))
        current = document["current-context"]
        contexts = {each["name"]: each["context"] for each in document["contexts"]}
        return str(contexts[current].get("namespace") or "default")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return "default"  # a pod, or no kubeconfig, of which the connection will tell


async def find(client: "KubeCluster", namespace: str, given: str) -> tuple[Kind, str, Manifest | None]:
    """Kind, name and object of `NAME`, `route/NAME` or `backend/NAME`; None if it does not exist.

    A bare name is a route's, or a backend's where there is no such route.
    """
    prefix, slash, name = given.rpartition("/")
    if slash and prefix.lower() not in _NAMES:
        raise InvalidInput(f"{given}: write NAME, route/NAME or backend/NAME")
    kinds = [_NAMES[prefix.lower()]] if slash else [MOLTBOT_ROUTE, MODEL_BACKEND]
    for kind in kinds:
        try:
            return kind, name, await client.get(kind, namespace, name)
        except NotFound:
            continue
    return kinds[0], name, None
