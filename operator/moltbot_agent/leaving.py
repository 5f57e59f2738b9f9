"""Asking clients to leave a revision that serves no more, and yet may serve again at any moment.

A client that keeps its connection stays with this pod when the Service already leads elsewhere. So every
answer, from then on, ends its connection: `connection: close` in HTTP/1.1, GOAWAY in HTTP/2. The request is
served as ever, new connections are taken, and readiness stays: going back is a matter of one write.

Envoy's overload manager has exactly that as its action `disable_http_keepalive`; what triggers it here is no
load but a file with a number, 1 or 0, that Envoy reads when another one is renamed onto it. The file lies in
the pod's memory, so an agent or an Envoy that starts again finds what was last said.

A connection without any request is left alone: whoever closes one in HTTP/1.1 may close it upon a request.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/operations/overload_manager/overload_manager
"""

from pathlib import Path
from typing import Final

from moltbot_agent.files import write_if_different

__all__ = ["LEAVING", "STAYING", "ask_to_leave", "asked_to_leave"]

STAYING: Final = b"0"
"""Nobody is asked: what the file says until somebody says else."""
LEAVING: Final = b"1"


def ask_to_leave(path: Path, *, leaving: bool) -> None:
    """From now on (Envoy looks four times a second); safe to repeat. Raises OSError."""
    write_if_different(path, LEAVING if leaving else STAYING)


def asked_to_leave(path: Path | None) -> bool:
    """Whether clients are; False where it can't be told."""
    try:
        return path is not None and path.read_bytes() == LEAVING
    except OSError:
        return False
