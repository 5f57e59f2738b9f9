"""What a cluster has of the routes and backends that files name: read only, and no Secret."""

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING

from moltbot_operator.api import ModelBackend, MoltBotRoute, parse_manifest
from moltbot_operator.compile import BackendRef
from moltbot_operator.errors import InvalidInput, NotFound
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.connection import Connection
from moltbot_operator.kube.kinds import MODEL_BACKEND, MOLTBOT_ROUTE

if TYPE_CHECKING:
    from moltbot_operator.serve.files import Manifests

__all__ = ["live"]

_TIMEOUT = timedelta(seconds=30)


def live(files: "Manifests") -> "tuple[Manifests, dict[str, str]]":
    """What the namespaces of the files hold, backends named elsewhere, and active revisions by route.

    Routes by `namespace/name`. ClusterError; InvalidInput for what can't be read.
    """
    return asyncio.run(_live(files))


async def _live(files: "Manifests") -> "tuple[Manifests, dict[str, str]]":
    found = type(files)()
    active: dict[str, str] = {}
    connection = await Connection.open(os.environ.get("KUBECONFIG", ""))
    async with connection.session(user="plan") as session:
        cluster = KubeCluster(session, connection.server, timeout=_TIMEOUT, identity="plan")
        for namespace in sorted({ref.namespace for ref in (files.routes | files.backends)}):
            for manifest in await cluster.list(MODEL_BACKEND, namespace):
                _add(found, manifest)
            for manifest in await cluster.list(MOLTBOT_ROUTE, namespace):
                _add(found, manifest)
                revision = manifest.get("status", {}).get("revision", {}).get("active")
                if revision:
                    active[f"{namespace}/{manifest['metadata']['name']}"] = revision
        for ref in _named(files) | _named(found):
            if ref not in found.backends:
                try:
                    _add(found, await cluster.get(MODEL_BACKEND, ref.namespace, ref.name))
                except NotFound:
                    continue  # the plan says which are missing
    return found, active


def _named(manifests: "Manifests") -> set[BackendRef]:
    """Backends that the routes name."""
    return {
        BackendRef.parse(name, ref.namespace)
        for ref, route in manifests.routes.items()
        for rule in route.spec.rules
        for name in rule.backends
    }


def _add(found: "Manifests", manifest: Manifest) -> None:
    kept = {
        key: value for key, value in manifest.items() if key in {"apiVersion", "kind", "metadata", "spec"}
    }
    try:
        parsed = parse_manifest(kept)
    except InvalidInput as error:
        raise InvalidInput(f"in the cluster: {error}; it is of another version than this command") from error
    ref = BackendRef(parsed.metadata.namespace or "default", parsed.metadata.name)
    if isinstance(parsed, MoltBotRoute):
        found.routes[ref] = parsed
    elif isinstance(parsed, ModelBackend):
        found.backends[ref] = parsed
