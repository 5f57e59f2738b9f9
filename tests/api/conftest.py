"""The api tier: a real API server and controller manager, the operator in this process, pods that only
seem to run.

`api_bed` is one control plane for the whole session with our CRDs; every test has a namespace of its own.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
for folder in (HERE, ROOT / "tests" / "cluster", ROOT / "tests" / "provider"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from api_bed import ApiBed  # noqa: E402
from standins import OPERATOR_USER, Bench  # noqa: E402

from moltbot_operator.kube.client import KubeCluster  # noqa: E402
from moltbot_operator.kube.connection import Connection  # noqa: E402
from moltbot_operator.settings import Settings  # noqa: E402


@pytest.fixture(scope="session")
def api_bed() -> Iterator[ApiBed]:
    """etcd, API server and controller manager on loopback, with our CRDs established."""
    with ApiBed() as bed:
        bed.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        bed.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))
        yield bed


@pytest.fixture(scope="session")
def operator_kubeconfig(api_bed: ApiBed) -> Path:
    """The operator's own user, so that the audit log tells its calls from those of tests; may do
    everything.
    """
    return api_bed.user_kubeconfig(OPERATOR_USER, ["system:masters"])


@pytest_asyncio.fixture
async def kube(api_bed: ApiBed) -> AsyncIterator[KubeCluster]:
    """The tests' own client."""
    connection = await Connection.open(str(api_bed.kubeconfig))
    async with connection.session() as session:
        yield KubeCluster(session, connection.server, timeout=timedelta(seconds=30), identity="test")


@pytest.fixture
def namespace(api_bed: ApiBed) -> Iterator[str]:
    """A new namespace; it goes in the background afterwards."""
    name = f"t-{uuid4().hex[:8]}"
    api_bed.kubectl("create", "namespace", name)
    yield name
    api_bed.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def settings(operator_kubeconfig: Path, namespace: str) -> Settings:
    """Of an operator that watches everything; its Lease is in the test's namespace, so tests don't share
    it.
    """
    return Settings(
        kubeconfig=str(operator_kubeconfig),
        own_namespace=namespace,
        identity=f"test-{uuid4().hex[:6]}",
        bind_address="127.0.0.1",
        health_port=0,
        metrics_port=0,
        gateway_image="gateway:test",
    )


@pytest_asyncio.fixture
async def bench(
    api_bed: ApiBed, kube: KubeCluster, settings: Settings, namespace: str
) -> AsyncIterator[Bench]:
    """An operator that watches the test's namespace, with a stand-in kubelet and stand-in evidence."""
    made = Bench(api_bed, kube, settings.model_copy(update={"namespaces": (namespace,)}), namespace)
    async with made:
        await made.start_operator()
        yield made
