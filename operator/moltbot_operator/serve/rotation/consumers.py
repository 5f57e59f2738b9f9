"""Keys of consumers: made here, valid while they are in a folder, and read there by clients."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, cast

from moltbot_operator.api import ConsumerKeyRotation
from moltbot_operator.compile import Mount, RouteSources
from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.local import OwnKeys
from moltbot_operator.rotation.policies import key_policy
from moltbot_operator.rotation.versions import KEY
from moltbot_operator.serve.files import KeySecret, Manifests
from moltbot_operator.serve.rotation.around import ConsumerGateways, Served, usable
from moltbot_operator.serve.rotation.key_store import KeyFolder
from moltbot_operator.serve.rotation.store import FolderStore
from moltbot_operator.serve.rotation.task import Plan, Shared

__all__ = ["ConsumerKey"]


@dataclass(frozen=True)
class Wish:
    """Of all consumers that name the Secret."""

    asking: Mapping[str, ConsumerKeyRotation]
    """By consumer, one at least."""
    rotate_at: datetime | None


@dataclass(frozen=True)
class ConsumerKey:
    """Implements `Subject`."""

    ref: KeySecret

    @property
    def kind(self) -> Literal["secret"]:
        """Of what."""
        return "secret"

    @property
    def name(self) -> str:
        """The Secret's."""
        return str(self.ref)

    @property
    def label(self) -> str:
        """In words."""
        return f"consumer's key in Secret {self.ref}"

    def opened(self, folder: Path, changed: Callable[[], Awaitable[None]]) -> FolderStore:
        """See `Subject`."""
        return KeyFolder(folder / f"{self.ref.namespace}_{self.ref.name}.consumer", changed)

    def fill(self, manifests: Manifests, values: Mapping[str, str]) -> None:
        """Beside keys that a person has in the Secret; the one named `key` only until it is taken over."""
        place = self.ref.place
        given = manifests.given.setdefault(self.ref, manifests.data.get(place, {}))
        manifests.rotated.add(self.ref)
        manifests.data[place] = {
            **{name: value for name, value in given.items() if name != KEY or not values},
            **{name: value.encode() for name, value in values.items()},
        }

    def gives(self, mount: Mount) -> bool:
        """See `Subject`."""
        place = (self.ref.namespace, self.ref.name)
        return mount.purpose == "consumer" and (mount.namespace, mount.name) == place

    def wish(self, manifests: Manifests, sources: RouteSources) -> Wish:
        """Of all consumers that name the Secret."""
        asking = {
            consumer.name: key.rotation
            for consumer in sources.spec.consumers
            if (key := consumer.auth.api_key) is not None
            and key.rotation is not None
            and key.secret_ref.name == self.ref.name
        }
        return Wish(asking, manifests.rotate_at.get(self.ref))

    def begins(self, store: FolderStore) -> str:
        """Where clients find it."""
        return f"clients find it in {store.folder / KEY}"

    def plan(self, wish: object, store: FolderStore, shared: Shared) -> Plan:
        """See `Subject`."""
        asked = cast("Wish", wish)
        policy = key_policy(list(asked.asking.values()), asked.rotate_at, store.uid)
        gateways = ConsumerGateways(shared.gateways, frozenset(asked.asking))
        return Plan(policy, OwnKeys(), gateways, GivenKey(shared.served, self.ref))


class GivenKey:
    """Implements the rotation's `Origin`: the key that a person has in the Secret under the name `key`."""

    def __init__(self, served: Served, ref: KeySecret) -> None:
        self._served = served
        self._ref = ref

    async def read(self) -> Credential | None:
        """None where there is none that can be used."""
        return usable(self._served().given.get(self._ref, {}).get(KEY))
