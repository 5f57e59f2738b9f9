"""Command lines of the control plane's daemons, the same for the node and for the light bed."""

import json
from dataclasses import dataclass
from pathlib import Path

from pki import Authority

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "nonResourceURLs": ["*"]}, {"level": "Metadata"}],
}
"""Who asked for what, once per request and without bodies: enough to count writes."""

SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class ControlPlane:
    """Where one control plane keeps its files and listens."""

    folder: Path
    address: str
    """The API server's address; etcd listens on 127.0.0.1 only."""
    port: int
    etcd_port: int
    etcd_peer_port: int

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    def authority(self) -> Authority:
        return Authority(self.folder / "pki")

    def prepare(self) -> None:
        """Writes certificates, kubeconfigs and the audit policy."""
        authority = self.authority()
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        addresses = {"127.0.0.1", API_SERVICE, self.address}
        authority.issue(
            "apiserver",
            "kube-apiserver",
            names=[*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in sorted(addresses))],
        )
        authority.issue("apiserver-client", "kube-apiserver", ["system:masters"])
        authority.signing_key("service-account")
        authority.kubeconfig(self.kubeconfig, self.url, "admin", ["system:masters"])
        for user in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            groups = [] if user == "kube-scheduler" else ["system:masters"] * (user != "kube-proxy")
            authority.kubeconfig(self.folder / f"{user}.kubeconfig", self.url, f"system:{user}", groups)
        (self.folder / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))

    def etcd(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, self.etcd_peer_port))
        return [
            "etcd", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]  # fmt: skip

    def apiserver(self) -> list[str]:
        authority, pki = self.authority(), self.folder / "pki"
        # Pods cannot reach a loopback address, and the API server refuses to publish one.
        reconciler = "none" if self.address.startswith("127.") else "lease"
        client, accounts = pki / "apiserver-client", pki / "service-account"
        return [
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--bind-address={self.address}", f"--advertise-address={self.address}",
            f"--secure-port={self.port}", f"--endpoint-reconciler-type={reconciler}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--tls-cert-file={pki / 'apiserver.crt'}", f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={authority.ca}",
            f"--kubelet-certificate-authority={authority.ca}",
            f"--kubelet-client-certificate={client}.crt", f"--kubelet-client-key={client}.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={authority.ca}", "--requestheader-allowed-names=kube-apiserver",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={client}.crt", f"--proxy-client-key-file={client}.key",
            "--enable-aggregator-routing=true",
            f"--service-account-issuer={ISSUER}", f"--service-account-key-file={accounts}.pub",
            f"--service-account-signing-key-file={accounts}.key",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true", "--profiling=false",
            f"--audit-log-path={self.audit_log}", f"--audit-policy-file={self.folder / 'audit-policy.json'}",
        ]  # fmt: skip

    def controller_manager(self) -> list[str]:
        """All default controllers, under one identity that the audit log tells from others."""
        return [
            "kube-controller-manager", f"--kubeconfig={self.folder / 'kube-controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={self.folder / 'pki' / 'service-account.key'}",
            f"--root-ca-file={self.authority().ca}", "--leader-elect=false", "--secure-port=0",
            "--use-service-account-credentials=false", "--allocate-node-cidrs=false", "--profiling=false",
            f"--flex-volume-plugin-dir={self.folder / 'volume-plugins'}",
        ]  # fmt: skip

    def scheduler(self) -> list[str]:
        config = self.folder / "kube-scheduler.kubeconfig"
        return ["kube-scheduler", f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0"]
