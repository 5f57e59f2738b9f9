"""Where the one-node bed keeps its files, and the addresses and ports it uses.

All addresses are inside the bed's own network namespace but the two loopback ports, which like the
bed's name can be chosen by environment variables.
"""

import os
from pathlib import Path

from daemons import ControlPlane

NAME = os.environ.get("MOLTBOT_BED_NAME", "moltbot-testbed")
"""Beds of different names, and ports, can be up side by side."""

RUNTIME = Path(os.environ.get("MOLTBOT_BED_DIR", "/var/lib"), NAME)
"""Files of the running bed; removed when it goes. On a file system that overlayfs can stand on."""

CGROUP = NAME
"""Name of the control group that holds every process of the bed, and so identifies them."""

LOOPBACK = "127.0.0.1"
NODE_NAME = "node1"
NODE_ADDRESS = "10.200.0.1"
POD_RANGE = "10.244.0.0/16"
DNS_SERVICE = "10.96.0.10"

API_PORT = int(os.environ.get("MOLTBOT_BED_API_PORT", "16443"))
"""Port of the host's loopback that leads to the API server."""

GATEWAY_PORT = int(os.environ.get("MOLTBOT_BED_GATEWAY_PORT", "18080"))
"""Port of the host's loopback that leads to the node port GATEWAY_NODE_PORT."""

GATEWAY_NODE_PORT = 30080

PLANE = ControlPlane(RUNTIME, NODE_ADDRESS, port=6443, etcd_port=2379, etcd_peer_port=2380)

HOST_KUBECONFIG = RUNTIME / "host.kubeconfig"
"""Kubeconfig for programs outside the bed's network; PLANE.kubeconfig is for those inside."""

LOGS = RUNTIME / "logs"
CONTAINERD_SOCKET = RUNTIME / "containerd.sock"
VERSIONS = RUNTIME / "versions.toml"
"""Written when the start is complete: what the bed was built from. One of other versions is started anew."""

IMAGE_NAMESPACE = "k8s.io"
"""The containerd namespace that the kubelet uses."""
