"""Questions to a control plane that is coming up."""

import http.client
import socket
import ssl

from daemons import ControlPlane


def listening(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def status(plane: ControlPlane, path: str, address: str = "", port: int = 0) -> int:
    """The HTTP status the administrator gets for `path`, 0 while nothing answers.

    `address` and `port`: where the API server is reached, if not at its own.
    """
    authority = plane.authority()
    pair = authority.issue("user-admin", "admin", ["system:masters"])
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(pair.cert, pair.key)
    connection = http.client.HTTPSConnection(
        address or plane.address, port or plane.port, timeout=5, context=context
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
