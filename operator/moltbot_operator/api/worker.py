"""The workers of a route: Python pods for what Envoy can't do, and how they are scaled."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Keyed, Text
from moltbot_operator.api.duration import DurationBounds
from moltbot_operator.api.fields import Name
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.references import SecretKeyRef

__all__ = [
    "Autoscaling",
    "AutoscalingMode",
    "ScaleMetric",
    "ScaleMetricType",
    "ScalePolicy",
    "ScalePolicyType",
    "ScaleSelect",
    "ScalingBehavior",
    "ScalingRules",
    "Store",
    "StoreType",
    "Worker",
]

Replicas = Annotated[int, Field(strict=True, ge=0, le=1000)]
Window = Annotated[timedelta, DurationBounds("0s", "1h")]


class AutoscalingMode(StrEnum):
    """Who writes the number of workers."""

    OPERATOR = "Operator"
    HPA = "HPA"
    EXTERNAL = "External"


class ScaleMetricType(StrEnum):
    """What the load is measured by."""

    IN_FLIGHT = "InFlight"
    QUEUE_DEPTH = "QueueDepth"
    REQUESTS_PER_SECOND = "RequestsPerSecond"
    LATENCY_P95 = "LatencyP95"
    CPU = "CPU"
    PROMETHEUS = "Prometheus"


class ScaleMetric(ApiModel):
    """A measure of load with its target; with several, the one that asks for most workers counts."""

    name: Name
    """Name, unique in the list; events and status use it."""
    type: ScaleMetricType
    """InFlight, QueueDepth and RequestsPerSecond (each per worker), LatencyP95 (milliseconds), CPU (percent
    of the request) or Prometheus (a query's value per worker)."""
    target: Annotated[float, Field(gt=0, le=1_000_000_000)]
    """Value to hold, in the type's unit."""
    url: (
        Annotated[str, Text(1024, pattern="https?://[!-~]+", remedy="write an http:// or https:// URL")]
        | None
    ) = None
    """Base URL of Prometheus; only with type Prometheus."""
    query: Annotated[str, Text(4096)] | None = None
    """PromQL whose result is one number; only with type Prometheus."""

    checks = (
        Check(
            "(self.type == 'Prometheus') == has(self.query)",
            lambda self: (self.type is ScaleMetricType.PROMETHEUS) == (self.query is not None),
            "type Prometheus and query go together: write both or neither",
            ".query",
        ),
    )


class ScalePolicyType(StrEnum):
    """Unit of a policy's value."""

    PODS = "Pods"
    PERCENT = "Percent"


class ScalePolicy(ApiModel):
    """Bounds how much changes in a period, as in the HPA."""

    type: ScalePolicyType
    """Pods or Percent."""
    value: Annotated[int, Field(strict=True, ge=1, le=1000)]
    """Most pods, or percent of the present ones, to add or remove in a period."""
    period: Annotated[timedelta, DurationBounds("1s", "30m")]
    """The period."""


class ScaleSelect(StrEnum):
    """Which policy counts."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingRules(ApiModel):
    """How fast to scale in one direction."""

    stabilization_window: Window | None = None
    """How far back recommendations count; by default 5m down and 0s up."""
    select_policy: ScaleSelect = ScaleSelect.MAX
    """Max or Min of the policies, or Disabled: never in this direction."""
    policies: Annotated[tuple[ScalePolicy, ...], Field(max_length=8)] = ()
    """Bounds; by default down 100 percent in 15s, up the larger of 100 percent and 4 pods in 15s."""


class ScalingBehavior(ApiModel):
    """How fast to scale."""

    scale_up: ScalingRules = ScalingRules()
    """Upwards."""
    scale_down: ScalingRules = ScalingRules()
    """Downwards."""


class Autoscaling(ApiModel):
    """Scaling of the workers by load."""

    min_replicas: Replicas = 1
    """Fewest workers. 0 counts as 1 where the operator scales: without workers nothing would be measured."""
    max_replicas: Annotated[int, Field(strict=True, ge=1, le=1000)]
    """Most workers."""
    mode: AutoscalingMode = AutoscalingMode.OPERATOR
    """Who writes the number of workers: Operator, HPA (a HorizontalPodAutoscaler made by the operator) or
    External (KEDA or a person, by the scale subresource)."""
    metrics: Annotated[tuple[ScaleMetric, ...], Field(max_length=8), Keyed()] = ()
    """Measures of load; by default InFlight with a target of 50."""
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast to scale."""

    checks = (
        Check(
            "(has(self.minReplicas) ? self.minReplicas : 1) <= self.maxReplicas",
            lambda self: self.min_replicas <= self.max_replicas,
            "minReplicas is above maxReplicas: lower minReplicas or raise maxReplicas",
            ".minReplicas",
        ),
    )


class StoreType(StrEnum):
    """Kinds of store."""

    REDIS = "Redis"
    EMBEDDED = "Embedded"


class Store(ApiModel):
    """What workers share: cache, queue and locks."""

    type: StoreType = StoreType.REDIS
    """Redis (or Valkey), or Embedded (in the process, for a single worker)."""
    url: (
        Annotated[
            str,
            Text(
                1024,
                pattern="rediss?://[^@]*",
                remedy="write redis://host:6379/0 or rediss:// for TLS; the password comes from secretRef",
            ),
        ]
        | None
    ) = None
    """Address of the server, such as redis://redis:6379/0, without a password; with type Redis."""
    secret_ref: SecretKeyRef | None = None
    """Secret and key that hold the password."""

    checks = (
        Check(
            "(!has(self.type) || self.type == 'Redis') == has(self.url)",
            lambda self: (self.type is StoreType.REDIS) == (self.url is not None),
            "type Redis and url go together: write url: redis://host:6379/0, or type: Embedded without a url",
        ),
    )


class Worker(ApiModel):
    """The Python pods that do what Envoy can't: cache, batching, jobs, aggregation, streams."""

    replicas: Replicas = 1
    """Workers; the scale subresource writes it. Where autoscaling is on, this is the starting point."""
    autoscaling: Autoscaling | None = None
    """Scaling by load; absent: none."""
    store: Store | None = None
    """What workers share; absent: nothing, each keeps its own."""
