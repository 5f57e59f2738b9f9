"""Addresses that are the gateway pod itself or its node."""

import ipaddress
import socket

__all__ = ["is_local"]


def is_local(host: str) -> bool:
    """Whether a host is the pod itself or its node (metadata services among them).

    Addresses are also read as `inet_aton` reads them (127.1, 0x7f000001), since resolvers do.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))
        except OSError:
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified or address.is_link_local
