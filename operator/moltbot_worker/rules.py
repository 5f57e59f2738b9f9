"""Which features a request of a rule goes through, from the outside to the inside.

::

    jobs ─► cache ─► coalescing ─► aggregation ─► batching ─► stream guard ─► plain call ─► translation

A feature that is not asked for is not in the way. Aggregation calls its backends by itself, and hands on what
can't be put together. All of them see the client's API: translation is where backends are called.
"""

from moltbot_worker.aggregating import Aggregating
from moltbot_worker.batching import Batching
from moltbot_worker.caching import Caching
from moltbot_worker.coalescing import Coalescing
from moltbot_worker.config import Jobs, Limits, Rule
from moltbot_worker.exchange import Answer, Handler, Request
from moltbot_worker.guarding import Guarding
from moltbot_worker.jobs.submitting import Submitting
from moltbot_worker.jobs.webhooks import Webhooks
from moltbot_worker.metrics import Metrics
from moltbot_worker.store import Store
from moltbot_worker.translating import Translating, translates
from moltbot_worker.upstream import Calls, Upstream

__all__ = ["answering", "submitting"]


def answering(
    rule: Rule, limits: Limits, upstream: Upstream, store: Store, metrics: Metrics
) -> tuple[Handler, Handler]:
    """Everything but jobs, which answer later by this; and the same without the cache, for warm-up."""
    calls: Calls = Translating(upstream, limits.answer_bytes) if translates(rule) else upstream

    async def plain(request: Request) -> Answer:
        metrics.calls.labels(rule.name).inc()
        return await calls.forward(request)

    handler: Handler = plain
    longest = limits.answer_bytes
    if rule.stream is not None:
        handler = Guarding(rule.stream, calls, handler, metrics, longest)
    if rule.batch is not None:
        handler = Batching(rule.batch, handler, metrics, longest)
    if rule.aggregate is not None:
        stall = rule.stream.stall if rule.stream else rule.idle
        handler = Aggregating(rule.aggregate, calls, handler, metrics=metrics, limit=longest, stall=stall)
    if rule.coalesce:
        scope = rule.cache.scope if rule.cache else "Consumer"
        handler = Coalescing(scope, handler, metrics, longest)
    uncached = handler
    if rule.cache is not None:
        handler = Caching(rule.cache, store, handler, metrics)
    return handler, uncached


def submitting(
    rule: Rule, jobs: Jobs, *, store: Store, webhooks: Webhooks, answer: Handler, metrics: Metrics
) -> Handler:
    """What requests of clients go through: jobs first, where the rule has them."""
    if rule.async_ is None:
        return answer
    return Submitting(rule.async_, jobs, store=store, webhooks=webhooks, inner=answer, metrics=metrics)
