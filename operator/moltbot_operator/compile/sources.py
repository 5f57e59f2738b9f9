"""What the compiler is given: one route and what its references were found to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from moltbot_operator.api import ModelBackendSpec, MoltBotRouteSpec

__all__ = [
    "BackendRef",
    "BackendSource",
    "ConsumerSource",
    "Files",
    "Problem",
    "RouteSources",
    "WorkerAddress",
    "WorkerFiles",
]


@dataclass(frozen=True, order=True)
class BackendRef:
    """A ModelBackend by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str, namespace: str) -> "BackendRef":
        """`name` (in the route's own `namespace`) or `namespace/name`."""
        head, slash, tail = text.partition("/")
        return cls(head, tail) if slash else cls(namespace, head)


@dataclass(frozen=True)
class Problem:
    """Why something cannot be used: a condition's reason and message (what happened, and the remedy)."""

    reason: str
    message: str


@dataclass(frozen=True)
class BackendSource:
    """A backend that was found.

    `problem` says why it can't be used although it exists (not accepted, no consent for this namespace,
    secret or key missing).
    """

    ref: BackendRef
    spec: ModelBackendSpec
    problem: Problem | None = None
    rotated: bool = False
    """The operator has taken the credential over: it is in a Secret of the operator's."""


@dataclass(frozen=True)
class ConsumerSource:
    """What was found of a consumer's Secret; `problem` says why it can't be used."""

    name: str
    problem: Problem | None = None


@dataclass(frozen=True)
class WorkerAddress:
    """Where one worker listens."""

    host: str
    port: int
    metrics_port: int
    """Where it says whether it is ready."""


@dataclass(frozen=True)
class WorkerFiles:
    """Where workers and the gateway find each other, and what a worker finds in files."""

    addresses: tuple[WorkerAddress, ...] = ()
    """Workers by address; empty: those of the revision's own Service."""
    calls: str = ""
    """URL of the gateway's worker listener; empty: that of the revision's own Service."""
    listen_port: int = 8090
    """Port of that listener."""
    port: int = 8080
    metrics_port: int = 9090
    evidence_port: int = 9091
    secret: str = "/etc/moltbot/worker-secret"  # noqa: S105 - the path of a folder
    """Folder with the secret that gateway and workers share, see worker_secret.py."""
    evidence_token: str = "/etc/moltbot/evidence/token"  # noqa: S105 - the path of a file
    store_password: str = "/etc/moltbot/store/password"  # noqa: S105 - the path of a file
    templates: str = "/etc/moltbot/templates"
    """Folder with a folder for each ConfigMap of templates."""


@dataclass(frozen=True)
class Files:
    """Where the gateway process finds and keeps its files, and the ports it opens.

    The defaults are a pod's; `moltbot serve` and tests give folders and free ports of their own.
    """

    run: str = "/run/moltbot"
    credentials: str = "/etc/moltbot/credentials"
    consumers: str = "/etc/moltbot/consumers"
    ca: str = "/etc/moltbot/ca"
    jwks: str = "/etc/moltbot/jwks"
    tls: str = "/etc/moltbot/tls"
    probe: str = "/etc/moltbot/probe"
    system_ca: str = "/etc/ssl/certs/ca-certificates.crt"
    access_log: str = "/dev/stdout"
    loopback: bool = False
    """Whether backends may be on this machine, which in a pod is Envoy's admin and the agent."""
    listen_address: str = "0.0.0.0"
    gateway_port: int = 8080
    ready_port: int = 8081
    probe_port: int = 8082
    admin_port: int = 9901
    worker: WorkerFiles = WorkerFiles()


@dataclass(frozen=True)
class RouteSources:
    """Input of the compiler. A backend that is referenced but absent from `backends` does not exist."""

    namespace: str
    name: str
    spec: MoltBotRouteSpec
    backends: Mapping[BackendRef, BackendSource]
    consumers: Mapping[str, ConsumerSource] = field(default_factory=dict)
    files: Files = Files()
