"""Asking what runs on this machine, over HTTP; blocks."""

import http.client
from dataclasses import dataclass, field

from moltbot_operator.serve.ports import LOOPBACK

__all__ = ["Said", "ask"]


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    body: bytes = field(repr=False)

    @property
    def well(self) -> bool:
        """Whether it is a 200."""
        return self.status == http.client.OK


def ask(port: int, path: str, *, host: str = LOOPBACK, seconds: float = 5) -> Said | None:
    """The answer to a GET; None where there is none. `seconds`: limit of the connection and of each read."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Said(answer.status, answer.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
