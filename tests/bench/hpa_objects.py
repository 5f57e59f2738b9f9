"""What the comparison makes in the cluster: the way to the metrics APIs, Deployments, and the HPAs."""

from hpa_metrics import DEPLOYED, NAMESPACE, SERVICE, VERSIONS

from moltbot_operator.compile.workloads import Owner, autoscaler


def metrics_apis(port, ca):
    """What tells the API server where the metrics APIs are."""
    spec = {"type": "ExternalName", "externalName": "localhost"}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    metadata = {"name": SERVICE, "namespace": NAMESPACE}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    for group, (version, _, _) in VERSIONS.items():
        yield {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}"},
            "spec": {
                "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {**metadata, "port": port}, "caBundle": ca,
            },
        }  # fmt: skip


def deployment(namespace, shape):
    labels = {"app": DEPLOYED}
    container = {"name": "worker", "image": "worker:bench"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYED, "namespace": namespace},
        "spec": {"replicas": shape.workers, "selector": {"matchLabels": labels}, "template": template},
    }


def horizontal(namespace, shape):
    """The operator's own for this scaling, on a Deployment instead of a route."""
    made = autoscaler(Owner(namespace, DEPLOYED, "bench"), shape.scaling)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYED}
    metadata = {"name": DEPLOYED, "namespace": namespace}
    return {**made, "metadata": metadata, "spec": {**made["spec"], "scaleTargetRef": target}}
