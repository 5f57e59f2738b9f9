"""The HorizontalPodAutoscaler of `mode: HPA`: it scales the route, and the operator the route's workers.

Measures that only the workers know come by the custom and external metrics APIs, which an adapter has to
serve under the names that are given here (docs/scaling.md).

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/
"""

from typing import Any, Final

from moltbot_operator.api import (
    Autoscaling,
    ScaleMetric,
    ScaleMetricType,
    ScaleSelect,
    ScalingRules,
)
from moltbot_operator.autoscale import metrics_of
from moltbot_operator.compile.workloads.identity import Manifest, Owner
from moltbot_operator.constants import API_VERSION, COMPONENT_WORKER

__all__ = ["autoscaler"]

_PER_POD: Final = {
    ScaleMetricType.IN_FLIGHT: "moltbot_worker_in_flight",
    ScaleMetricType.REQUESTS_PER_SECOND: "moltbot_worker_requests_per_second",
    ScaleMetricType.LATENCY_P95: "moltbot_worker_latency_p95_milliseconds",
}
"""Names in the custom metrics API."""

_QUEUE: Final = "moltbot_worker_queue_depth"
"""Name in the external metrics API; `Prometheus` has the metric's own name there."""


def autoscaler(owner: Owner, scaling: Autoscaling) -> Manifest:
    """On the scale subresource of the route."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": owner.metadata(owner.autoscaler, component=COMPONENT_WORKER),
        "spec": {
            "scaleTargetRef": {"apiVersion": API_VERSION, "kind": "MoltBotRoute", "name": owner.name},
            "minReplicas": max(1, scaling.min_replicas),
            "maxReplicas": scaling.max_replicas,
            "metrics": [_metric(metric, owner) for metric in metrics_of(scaling)],
            "behavior": {
                "scaleUp": _rules(scaling.behavior.scale_up, 0, _UP),
                "scaleDown": _rules(scaling.behavior.scale_down, 300, _DOWN),
            },
        },
    }


def _metric(metric: ScaleMetric, owner: Owner) -> dict[str, Any]:
    if metric.type is ScaleMetricType.CPU:
        target = {"type": "Utilization", "averageUtilization": max(1, round(metric.target))}
        return {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    target = {"type": "AverageValue", "averageValue": _quantity(metric.target)}
    if metric.type in _PER_POD:
        return {"type": "Pods", "pods": {"metric": {"name": _PER_POD[metric.type]}, "target": target}}
    name = _QUEUE if metric.type is ScaleMetricType.QUEUE_DEPTH else metric.name
    selector = {"matchLabels": {"namespace": owner.namespace, "route": owner.name}}
    return {
        "type": "External",
        "external": {"metric": {"name": name, "selector": selector}, "target": target},
    }


def _quantity(value: float) -> str:
    """As a Kubernetes quantity, to a thousandth."""
    thousandths = max(1, round(value * 1000))
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


_UP: Final = (
    {"type": "Percent", "value": 100, "periodSeconds": 15},
    {"type": "Pods", "value": 4, "periodSeconds": 15},
)
_DOWN: Final = ({"type": "Percent", "value": 100, "periodSeconds": 15},)


def _rules(rules: ScalingRules, window: int, usual: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    given = rules.stabilization_window
    policies = [
        {
            "type": str(policy.type),
            "value": policy.value,
            "periodSeconds": max(1, int(policy.period.total_seconds())),
        }
        for policy in rules.policies
    ]
    select = "Disabled" if rules.select_policy is ScaleSelect.DISABLED else str(rules.select_policy)
    return {
        "stabilizationWindowSeconds": window if given is None else int(given.total_seconds()),
        "selectPolicy": select,
        "policies": policies or [dict(each) for each in usual],
    }
