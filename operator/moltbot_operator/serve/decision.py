"""What a change of the files asks for. Pure.

::

    same revision, same CAs ──▶ VALUES    credentials and keys are files: written, and in use in a moment
    else                    ──▶ REVISION  a new agent and Envoy beside the old ones
"""

import hashlib
from dataclasses import dataclass
from enum import Enum

from moltbot_operator.compile import CompiledRoute
from moltbot_operator.serve.files import Manifests

__all__ = ["Change", "Identity", "decide", "identify"]


class Change(Enum):
    """See the module's docstring."""

    VALUES = "Values"
    REVISION = "Revision"


@dataclass(frozen=True)
class Identity:
    """What makes a running gateway the same: ten hexadecimal digits, and whose route it is."""

    route: str
    revision: str


def identify(compiled: CompiledRoute, manifests: Manifests) -> Identity:
    """Of a route compiled for a pod's files, so that ports and folders are not in it.

    Envoy reads CA bundles at its start alone, so they belong to it.
    """
    bundles = hashlib.sha256(compiled.revision.encode())
    count = 0
    for mount in compiled.mounts:
        if mount.purpose == "ca" and mount.key is not None:
            held = manifests.data.get((mount.kind, mount.namespace, mount.name), {})
            bundles.update(hashlib.sha256(held.get(mount.key, b"")).digest())
            count += 1
    revision = bundles.hexdigest()[: len(compiled.revision)] if count else compiled.revision
    return Identity(f"{compiled.agent.namespace}/{compiled.agent.route}", revision)


def decide(running: Identity, wanted: Identity) -> Change:
    """What leads from the one to the other."""
    return Change.VALUES if running == wanted else Change.REVISION
