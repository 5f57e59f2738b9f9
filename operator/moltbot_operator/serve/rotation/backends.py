"""The credential of a backend, in use by gateways as the value of a Secret of its own."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from moltbot_operator.api import IssuerType, ModelBackendSpec
from moltbot_operator.compile import BackendRef, Mount, RouteSources
from moltbot_operator.compile.credentials import rotated_secret, secret_ref
from moltbot_operator.rotation.local import ExternalIssuer
from moltbot_operator.rotation.opened import OpenedIssuer
from moltbot_operator.rotation.policies import policy_of
from moltbot_operator.serve.files import Manifests
from moltbot_operator.serve.keys import key_files
from moltbot_operator.serve.rotation.around import BackendGateways, FileOrigin, FileReader, KeyFile
from moltbot_operator.serve.rotation.store import FolderStore
from moltbot_operator.serve.rotation.task import Plan, Shared

if TYPE_CHECKING:
    from moltbot_operator.rotation import Issuer

__all__ = ["BackendCredential"]


@dataclass(frozen=True)
class BackendCredential:
    """Implements `Subject`."""

    ref: BackendRef

    @property
    def kind(self) -> Literal["backend"]:
        """Of what."""
        return "backend"

    @property
    def name(self) -> str:
        """The backend's."""
        return str(self.ref)

    @property
    def label(self) -> str:
        """In words."""
        return f"credential of {self.ref}"

    def opened(self, folder: Path, changed: Callable[[], Awaitable[None]]) -> FolderStore:
        """See `Subject`."""
        return FolderStore(folder / f"{self.ref.namespace}_{self.ref.name}.rotation", changed)

    def fill(self, manifests: Manifests, values: Mapping[str, str]) -> None:
        """Nothing until it was taken over."""
        if values:
            manifests.rotated.add(self.ref)
            manifests.data["Secret", self.ref.namespace, rotated_secret(self.ref.name)] = {
                name: value.encode() for name, value in values.items()
            }

    def gives(self, mount: Mount) -> bool:
        """See `Subject`."""
        place = (self.ref.namespace, rotated_secret(self.ref.name))
        return mount.purpose == "credential" and (mount.namespace, mount.name) == place

    def wish(self, manifests: Manifests, sources: RouteSources) -> ModelBackendSpec:  # noqa: ARG002
        """The backend's spec."""
        return sources.backends[self.ref].spec

    def begins(self, store: FolderStore) -> str:  # noqa: ARG002
        """Nothing: nobody looks for it."""
        return ""

    def plan(self, wish: object, store: FolderStore, shared: Shared) -> Plan:
        """See `Subject`."""
        spec, ref = cast("ModelBackendSpec", wish), self.ref
        if spec.rotation is None:
            raise ValueError("a backend without spec.rotation has none to run")
        origin = FileOrigin(shared.served, ref.namespace, secret_ref(ref.name, spec))
        reader = FileReader(shared.served, ref.namespace)
        issuer: Issuer = OpenedIssuer(shared.opener(), spec, reader, ref.namespace)
        if spec.rotation.issuer.type is IssuerType.EXTERNAL:
            issuer = ExternalIssuer(origin.read, issuer.verify)
        keys = None
        if spec.rotation.issuer.type is IssuerType.MANAGED_KEY and spec.auth.jwt is not None:
            algorithm = spec.auth.jwt.algorithm.value
            keys = KeyFile(store, key_files(shared.folder, ref, algorithm)[1], algorithm)
        return Plan(
            policy_of(spec, spec.rotation, store.uid),
            issuer,
            BackendGateways(shared.gateways, ref),
            origin,
            keys,
        )
