"""Which features a request of a rule goes through, from the outside to the inside.

::

    jobs ─► cache ─► coalescing ─► aggregation | batching | stream guard | plain call

A feature that is not asked for is not in the way.
"""

from moltbot_worker.caching import Caching
from moltbot_worker.coalescing import Coalescing
from moltbot_worker.config import Limits, Rule
from moltbot_worker.exchange import Answer, Handler, Request
from moltbot_worker.metrics import Metrics
from moltbot_worker.store import Store
from moltbot_worker.upstream import Upstream

__all__ = ["answering"]


def answering(rule: Rule, limits: Limits, upstream: Upstream, store: Store, metrics: Metrics) -> Handler:
    """Everything but jobs, which answer later by this."""

    async def plain(request: Request) -> Answer:
        metrics.calls.labels(rule.name).inc()
        return await upstream.forward(request)

    handler: Handler = plain
    if rule.coalesce:
        scope = rule.cache.scope if rule.cache else "Consumer"
        handler = Coalescing(scope, handler, metrics, limits.answer_bytes)
    if rule.cache is not None:
        handler = Caching(rule.cache, store, handler, metrics)
    return handler
