"""How a changed route replaces the active revision."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Keyed, Text, Unique
from moltbot_operator.api.duration import DurationBounds
from moltbot_operator.api.fields import Flag, HttpUrl, Name, Revision, UrlPath
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.references import SecretKeyRef

__all__ = [
    "Analysis",
    "AnalysisMetric",
    "Expectation",
    "Gate",
    "MetricSource",
    "Notification",
    "NotificationAuthentication",
    "NotificationEvent",
    "NotificationFormat",
    "Rollout",
    "RolloutStrategy",
    "TestRequest",
    "Testing",
]


class RolloutStrategy(StrEnum):
    """How revisions replace each other."""

    BLUE_GREEN = "BlueGreen"


class Expectation(ApiModel):
    """What the answer to a test request must be."""

    status: Annotated[int, Field(strict=True, ge=100, le=599)] = 200
    """HTTP status."""
    contains: Annotated[str, Text(1024)] | None = None
    """Text that the body must contain."""


class TestRequest(ApiModel):
    """A request that is sent to the preview before users see it."""

    __test__ = False  # pytest takes classes called Test... for tests

    path: UrlPath
    """Path, such as /v1/chat/completions."""
    body: Annotated[str, Text(16384, minimum=0)] | None = None
    """JSON to POST; absent: GET."""
    expect: Expectation = Expectation()
    """What the answer must be; by default status 200."""


class Testing(ApiModel):
    """Tests of the preview before any user traffic."""

    __test__ = False  # as above

    requests: Annotated[tuple[TestRequest, ...], Field(max_length=16)] = ()
    """Requests to send, in order."""
    fault_drill: Flag = False
    """true: cut off each rule's candidates in turn and see that its fallback serves."""


class MetricSource(StrEnum):
    """Where a metric comes from."""

    GATEWAY = "Gateway"
    PROMETHEUS = "Prometheus"


_CONDITION = r"(<|<=|>|>=|==|!=) *[0-9]+(\.[0-9]+)?( *\* *active)?"

ResultCondition = Annotated[
    str,
    Text(
        64,
        pattern=_CONDITION,
        remedy="compare with a number or with the active revision's value, such as '>= 0.99' or "
        "'<= 1.2 * active'",
    ),
]


class AnalysisMetric(ApiModel):
    """A measure that a revision must meet."""

    name: Name
    """Name, unique in the list; status and events use it."""
    source: MetricSource = MetricSource.GATEWAY
    """Gateway (the gateway's own metrics) or Prometheus."""
    url: HttpUrl | None = None
    """Base URL of Prometheus; only with source Prometheus."""
    query: Annotated[str, Text(4096)]
    """For Gateway one of SuccessRate, LatencyP50, LatencyP95, LatencyP99; for Prometheus a PromQL expression
    whose result is one number."""
    success_condition: ResultCondition
    """What the value must fulfil, such as `>= 0.99` or `<= 1.2 * active`."""
    failure_condition: ResultCondition | None = None
    """What makes the value a failure; by default, whatever is no success. Where both are given and neither
    holds, the measurement is inconclusive and the rollout pauses."""

    checks = (
        Check(
            "(has(self.source) && self.source == 'Prometheus') || "
            "self.query in ['SuccessRate', 'LatencyP50', 'LatencyP95', 'LatencyP99']",
            lambda self: (
                self.source is MetricSource.PROMETHEUS
                or self.query in {"SuccessRate", "LatencyP50", "LatencyP95", "LatencyP99"}
            ),
            "source Gateway knows the queries SuccessRate, LatencyP50, LatencyP95 and LatencyP99: write "
            "one of them, or "
            "source: Prometheus",
            ".query",
        ),
        Check(
            "(has(self.source) && self.source == 'Prometheus') == has(self.url)",
            lambda self: (self.source is MetricSource.PROMETHEUS) == (self.url is not None),
            "source Prometheus and url go together: write url: http://prometheus:9090, or remove url",
            ".url",
        ),
    )


class Analysis(ApiModel):
    """Measurements of a revision before the flip (preview) and after it (active)."""

    interval: Annotated[timedelta, DurationBounds("1s", "1h")] = timedelta(seconds=10)
    """Time between measurements."""
    count: Annotated[int, Field(strict=True, ge=1, le=1000)] = 6
    """Measurements."""
    minimum_sample_size: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 50
    """Requests below which a measurement is inconclusive."""
    failure_limit: Annotated[int, Field(strict=True, ge=0, le=1000)] = 0
    """Failed measurements that are tolerated."""
    metrics: Annotated[tuple[AnalysisMetric, ...], Field(min_length=1, max_length=16), Keyed()]
    """What is measured."""


class Gate(ApiModel):
    """An approval by HTTP POST: 2xx passes, 4xx (but for 408, 425, 429) refuses, the rest is asked again."""

    url: HttpUrl
    """Where to ask."""
    secret_ref: SecretKeyRef | None = None
    """Secret and key that hold a bearer token for it."""
    timeout: Annotated[timedelta, DurationBounds("1s", "24h")] = timedelta(seconds=30)
    """Longest wait for an answer."""


class NotificationFormat(StrEnum):
    """Shapes of a notification."""

    SLACK = "Slack"
    CLOUD_EVENTS = "CloudEvents"
    GENERIC = "Generic"


class NotificationEvent(StrEnum):
    """What is worth a notification."""

    STARTED = "Started"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
    COMPLETED = "Completed"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    ABORTED = "Aborted"


class NotificationAuthentication(StrEnum):
    """How a receiver knows the sender."""

    SIGNATURE = "Signature"
    BEARER = "Bearer"


class Notification(ApiModel):
    """Tells somebody by HTTP POST how the rollout goes."""

    url: HttpUrl | None = None
    """Where to send it; absent where the address itself is secret and comes from secretRef."""
    secret_ref: SecretKeyRef | None = None
    """Secret and key that hold what authentication says, or the whole address where url is absent."""
    authentication: NotificationAuthentication = NotificationAuthentication.SIGNATURE
    """What the Secret's value is, where url is given. Signature: the key of an HMAC-SHA256 that is sent (as
    Standard Webhooks has it); Bearer: a token that is sent itself."""
    format: NotificationFormat = NotificationFormat.GENERIC
    """Slack, CloudEvents or Generic (a plain JSON object)."""
    events: Annotated[tuple[NotificationEvent, ...], Field(max_length=7), Unique()] = ()
    """Which events: Started, Paused, Promoted, Completed, RolledBack, Failed, Aborted. Empty: all."""

    checks = (
        Check(
            "has(self.url) || has(self.secretRef)",
            lambda self: self.url is not None or self.secret_ref is not None,
            "give url, or secretRef: {name, key} of a Secret that holds the address",
        ),
    )


class Rollout(ApiModel):
    """How a changed route replaces the active revision."""

    strategy: RolloutStrategy = RolloutStrategy.BLUE_GREEN
    """BlueGreen: the new revision is started beside the active one, then the Service is switched at once."""
    auto_promote: Flag = True
    """false: wait for promote before the switch."""
    paused: Flag = False
    """true: stop before the next step until it is false again."""
    promote: Revision | None = None
    """Revision to switch to now, as status.revision.preview shows it."""
    abort: Revision | None = None
    """Revision to give up, as status.revision.preview shows it."""
    retry: Revision | None = None
    """Revision that was rolled back and shall be tried again."""
    testing: Testing = Testing()
    """Tests of the preview before any user traffic."""
    analysis: Analysis | None = None
    """Measurements that decide; absent: none."""
    gates: Annotated[tuple[Gate, ...], Field(max_length=8)] = ()
    """Approvals that are asked for before the switch."""
    progress_deadline: Annotated[timedelta, DurationBounds("10s", "24h")] = timedelta(minutes=10)
    """Longest time for a revision to get ready."""
    scale_down_delay: Annotated[timedelta, DurationBounds("0s", "24h")] = timedelta(seconds=60)
    """How long the previous revision stays after the switch, for a rollback at once."""
    revision_history: Annotated[int, Field(strict=True, ge=0, le=50)] = 5
    """Earlier stable revisions to remember."""
    notifications: Annotated[tuple[Notification, ...], Field(max_length=8)] = ()
    """Who is told."""
