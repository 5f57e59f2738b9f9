"""Configuration of the daemons that only a node has: containerd, the kubelet and kube-proxy."""

import json
from pathlib import Path

import layout
import network
from layout import CONTAINERD_SOCKET, NODE_ADDRESS, NODE_NAME, RUNTIME


def containerd_config(cni_binaries: Path) -> str:
    """Configuration of containerd (version 3 of its format)."""
    cni = RUNTIME / "cni"
    cni.mkdir()
    (cni / "bed.conflist").write_text(json.dumps(network.cni_config(RUNTIME / "ipam")))
    return f"""
version = 3
root = "{RUNTIME}/containerd/root"
state = "{RUNTIME}/containerd/state"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{RUNTIME}/containerd/opt"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:3"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{cni_binaries}"]
    conf_dir = "{cni}"
"""


def kubelet_config() -> dict[str, object]:
    pki = RUNTIME / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [layout.DNS_SERVICE],
        "resolvConf": "",
        "enforceNodeAllocatable": [],
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "syncFrequency": "10s",
        "maxPods": 250,
        "podLogsDir": str(RUNTIME / "pod-logs"),
        "volumePluginDir": str(RUNTIME / "volume-plugins"),
        # The images here cannot be had again, and the disk is the machine's own affair.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def proxy_config() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(RUNTIME / "kube-proxy.kubeconfig")},
        "mode": "nftables",
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": layout.POD_RANGE,
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
