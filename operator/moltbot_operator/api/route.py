"""MoltBotRoute: rules from requests to backends, and the gateway that carries them out."""

from typing import Annotated, Literal

from pydantic import Field

from moltbot_operator.api.audit import Audit
from moltbot_operator.api.constraints import Keyed
from moltbot_operator.api.consumer import Consumer
from moltbot_operator.api.fields import is_dns_label
from moltbot_operator.api.gateway import Gateway
from moltbot_operator.api.meta import ObjectMeta
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.rollout import Rollout
from moltbot_operator.api.route_status import MoltBotRouteStatus
from moltbot_operator.api.rule import Rule
from moltbot_operator.api.worker import Worker
from moltbot_operator.constants import MAX_ROUTE_NAME

__all__ = ["MAX_RULES", "MoltBotRoute", "MoltBotRouteSpec"]

MAX_RULES = 1024
"""Most rules of a route."""


class MoltBotRouteSpec(ApiModel):
    """Rules from requests to backends, who may use them, and the gateway that carries them out."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=MAX_RULES), Keyed()]
    """What to do with requests. The first rule that takes a request serves it; a request that none takes gets
    404."""
    consumers: Annotated[tuple[Consumer, ...], Field(max_length=128), Keyed()] = ()
    """Who may use the route. Empty: nobody, every request gets 401. For everybody write one consumer with
    auth: {anonymous: {}} and the backends that it may use."""
    gateway: Gateway = Gateway()
    """The Envoy pods of the route, and their Service."""
    worker: Worker | None = None
    """The Python pods that do what Envoy can't, for rules that ask for that; absent: one, where one does."""
    rollout: Rollout | None = None
    """How a changed route replaces the active revision; absent: blue-green without tests and analysis."""
    audit: Audit = Audit()
    """The record of every model call."""

    checks = (
        Check(
            "!has(self.consumers) || size(self.consumers) <= 1 || "
            "self.consumers.all(c, !has(c.auth) || !has(c.auth.anonymous))",
            lambda self: (
                len(self.consumers) <= 1
                or all(consumer.auth.anonymous is None for consumer in self.consumers)
            ),
            "an anonymous consumer lets everybody in and so must be the only one: remove it or the others",
            ".consumers",
        ),
    )


class MoltBotRoute(ApiModel):
    """Rules that send OpenAI-compatible requests to ModelBackends, behind a Service of the same name."""

    api_version: Literal["moltbot.io/v1alpha1"] = "moltbot.io/v1alpha1"
    kind: Literal["MoltBotRoute"] = "MoltBotRoute"
    metadata: ObjectMeta
    spec: MoltBotRouteSpec
    """What is wanted: rules, consumers, gateway."""
    status: MoltBotRouteStatus = MoltBotRouteStatus()
    """What the operator found and does; written by the operator only."""

    checks = (
        Check(
            f"size(self.metadata.name) <= {MAX_ROUTE_NAME} && "
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            lambda self: (
                len(self.metadata.name) <= MAX_ROUTE_NAME
                and is_dns_label(self.metadata.name)
                and self.metadata.name[0].isalpha()
            ),
            f"a MoltBotRoute's name becomes that of a Service: at most {MAX_ROUTE_NAME} lower-case "
            f"letters, digits and "
            "hyphens, beginning with a letter, such as assistant: rename it",
        ),
        Check(
            "!self.metadata.name.endsWith('-preview')",
            lambda self: not self.metadata.name.endswith("-preview"),
            "names that end in -preview are taken by the preview Services of other routes: rename it",
        ),
    )
