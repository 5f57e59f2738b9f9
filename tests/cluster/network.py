"""The node's network, made from inside its namespace.

Nothing connects it to the outside: one end of a pair of links is the node's interface, the other end
just keeps it up. Addresses that are not the bed's are refused at once, so that nothing waits for
an answer that cannot come.
"""

import subprocess
from pathlib import Path

from daemons import SERVICE_RANGE
from layout import NODE_ADDRESS, POD_RANGE

_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}


def set_up() -> None:
    """Links, address and routes of the node; for use inside a new network namespace."""
    commands = [
        "link set lo up",
        "link add eth0 type veth peer name eth0-end",
        f"address add {NODE_ADDRESS}/24 dev eth0",
        "link set eth0 up",
        "link set eth0-end up",
        # Rewritten to a pod's address by kube-proxy before it leaves; it needs a route to get so far.
        f"route add {SERVICE_RANGE} dev eth0",
        "route add unreachable default",
    ]
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
    for name, value in _SETTINGS.items():
        Path("/proc/sys", name).write_text(value)


def cni_config(data: Path) -> dict[str, object]:
    """Each pod has a link of its own to the node, which routes between them.

    A bridge would need the kernel's br_netfilter for Services between pods; this needs nothing.
    """
    ranges = [[{"subnet": POD_RANGE}]]
    ipam = {"type": "host-local", "dataDir": str(data), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "bed", "plugins": [{"type": "ptp", "ipam": ipam}, portmap]}
