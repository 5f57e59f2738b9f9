"""kopf adapters: each event updates the cache and queues what it affects, no more.

kopf logs and drops the errors of `on.event` handlers, and retries nothing; so no work is done here.
"""

from typing import Any

import kopf

from moltbot_operator.kube.feed import Feed
from moltbot_operator.kube.kinds import CHILDREN, MODEL_BACKEND, MOLTBOT_ROUTE, Kind

__all__ = ["WATCHED", "register"]

WATCHED = (MODEL_BACKEND, MOLTBOT_ROUTE, *CHILDREN)
"""Kinds that kopf watches; `shell.py` restricts the children to our label on the server's side."""


def register(registry: kopf.OperatorRegistry, feed: Feed) -> None:
    """Have kopf call us for every event of the watched kinds."""
    for kind in WATCHED:
        _register(registry, feed, kind)


def _register(registry: kopf.OperatorRegistry, feed: Feed, kind: Kind) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)
    async def on_event(*, event: Any, **_: Any) -> None:
        if event["type"] == "DELETED":
            feed.deleted(kind, event["object"])
        else:
            feed.changed(kind, event["object"])
