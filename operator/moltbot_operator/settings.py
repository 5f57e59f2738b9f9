"""Settings of the operator process, read from MOLTBOT_* environment variables (the chart sets them)."""

import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from moltbot_operator.constants import RESYNC
from moltbot_operator.errors import InvalidInput

__all__ = ["Settings", "product_version"]

PREFIX = "MOLTBOT_"


def product_version() -> str:
    """Version of the installed package; `0+unknown` when run from a source tree."""
    try:
        return version("moltbot-operator")
    except PackageNotFoundError:
        return "0+unknown"


def _seconds(value: Any) -> Any:
    """Plain numbers are seconds: `15`, `0.5`; pydantic parses ISO 8601 (`PT15S`) itself."""
    if isinstance(value, str):
        try:
            return timedelta(seconds=float(value))
        except ValueError:
            return value
    return value


def _names(value: Any) -> Any:
    """`a, b` as a tuple of names."""
    return (
        tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value
    )


Seconds = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]
"""A positive duration; as text, a number of seconds or ISO 8601."""


class Settings(BaseModel):
    """One field, one variable: `lease_name` is MOLTBOT_LEASE_NAME. Others MOLTBOT_* are ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    """Namespaces to watch, separated by commas; empty: all.

    With a list, no Namespace is watched, so `allowedRoutes` selectors match no other namespace.
    """

    gateway_image: str = "localhost/moltbot:dev"
    """Image of the gateway pods: Envoy and the agent."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of the gateway pods' image."""

    own_namespace: str = "default"
    """Namespace that the operator runs in: its Lease is there, and evidence calls come from there."""

    lease_name: str = "moltbot-operator"
    """Name of the Lease that makes one replica the leader."""

    identity: str = Field(default_factory=lambda: f"{socket.gethostname()}_{os.getpid()}", min_length=1)
    """Name of this replica in the Lease, unique among replicas (default: host and process)."""

    lease_duration: Seconds = timedelta(seconds=15)
    """How long a leader that went silent keeps its place, as another replica sees it."""

    renew_deadline: Seconds = timedelta(seconds=10)
    """How long a leader goes on without a renewal before it ends itself; shorter than lease_duration."""

    retry_period: Seconds = timedelta(seconds=2)
    """Pause between attempts to take or renew the Lease."""

    request_timeout: Seconds = timedelta(seconds=15)
    """Limit of one call of the API server (of one chunk of a list)."""

    resync: Seconds = RESYNC
    """How often the cache is compared with a full listing."""

    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """How many keys are reconciled at a time."""

    stop_grace: Seconds = timedelta(seconds=10)
    """How long reconciliations under way may take to finish on a clean stop."""

    scale_period: Seconds = timedelta(seconds=15)
    """How often workers that the operator scales are measured."""

    bind_address: str = "0.0.0.0"
    """Address of the health and metrics endpoints."""

    health_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz and /readyz; 0: a free one."""

    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9090
    """Port of /metrics; 0: a free one."""

    jwks_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port of /jwks/<namespace>/<backend>; 0: a free one; absent: keys are not served."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    kubeconfig: str = Field(default_factory=lambda: os.environ.get("KUBECONFIG", ""))
    """Path of a kubeconfig (MOLTBOT_KUBECONFIG, else KUBECONFIG); empty: the pod's service account,
    else ~/.kube/config."""

    @model_validator(mode="after")
    def _lease_times(self) -> Self:
        if not self.retry_period < self.renew_deadline < self.lease_duration:
            raise ValueError(
                "the lease needs retry_period < renew_deadline < lease_duration, got "
                f"{self.retry_period} / {self.renew_deadline} / {self.lease_duration}"
            )
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """From the environment; `overrides` (of the command line) win. InvalidInput names the variable."""
        environ = os.environ if environ is None else environ
        given = {
            name: environ[variable]
            for name in cls.model_fields
            if (variable := f"{PREFIX}{name.upper()}") in environ
        }
        try:
            return cls(**{**given, **overrides})
        except ValidationError as error:
            first = error.errors()[0]
            name = "".join(str(part) for part in first["loc"][:1])
            where = f"{PREFIX}{name.upper()}={given.get(name, '')!r}: " if name else ""
            raise InvalidInput(where + first["msg"].removeprefix("Value error, ")) from None
