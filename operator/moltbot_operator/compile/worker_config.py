"""What the workers of a revision are told: from the intermediate form to `moltbot_worker`'s configuration."""

from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from moltbot_operator.api import Aggregate, Cache, Prefill, Provider, Store, StreamGuard
from moltbot_operator.compile.envoy.retry import silence
from moltbot_operator.compile.features import Features
from moltbot_operator.compile.ir import Backend, Gateway, Hop, PlannedRule
from moltbot_operator.compile.sources import RouteSources
from moltbot_operator.compile.worker_secret import KEY_FILE, WEBHOOK_FILE
from moltbot_worker import config as told

__all__ = ["worker_config"]

_PREFILL: Final = {
    Provider.ANTHROPIC: Prefill.ASSISTANT,
    Provider.DEEPSEEK: Prefill.PREFIX,
    Provider.MISTRAL: Prefill.PREFIX,
    Provider.VLLM: Prefill.CONTINUE_FINAL_MESSAGE,
}
"""How a provider is given an answer that was begun, to go on with it, unless its backend says otherwise.

https://docs.anthropic.com/en/docs/build-with-claude/prompt-engineering/prefill-claudes-response,
https://api-docs.deepseek.com/guides/chat_prefix_completion,
https://docs.mistral.ai/capabilities/completion/usage (prefix),
https://docs.vllm.ai/en/stable/serving/openai_compatible_server (continue_final_message)
"""


def worker_config(gateway: Gateway, sources: RouteSources) -> told.WorkerConfig | None:
    """The configuration, without the revision; None if no rule needs a worker."""
    if not gateway.worked:
        return None
    files = gateway.files.worker
    secret = Path(files.secret)
    return told.WorkerConfig(
        namespace=gateway.namespace,
        route=gateway.route,
        revision="",
        gateway=told.GatewayCalls(url=files.calls, key=secret / KEY_FILE),
        rules=tuple(
            _rule(rule, rule.hop, gateway, sources) for rule in gateway.worked if rule.hop is not None
        ),
        store=_store(gateway.store, files.store_password),
        jobs=told.Jobs(webhook_key=secret / WEBHOOK_FILE),
        port=files.port,
        metrics_port=files.metrics_port,
        evidence_port=files.evidence_port,
        evidence_token=Path(files.evidence_token),
    )


def _rule(rule: PlannedRule, hop: Hop, gateway: Gateway, sources: RouteSources) -> told.Rule:
    chains = [choice.chain for choice in rule.choices]
    features = hop.features
    everybody = (gateway.anonymous,) if gateway.anonymous else tuple(each.name for each in gateway.consumers)
    return told.Rule(
        name=rule.name,
        choices=tuple(
            told.Choice(
                route=name,
                weight=choice.weight,
                chain=tuple(backend.label for backend in choice.chain.backends),
            )
            for name, choice in zip(hop.calls, rule.choices, strict=True)
        ),
        backends={label: _backend(chain.first, sources) for label, chain in hop.alone.items()},
        consumers=everybody if rule.consumers is None else rule.consumers,
        first_byte=_seconds(max(chain.attempts * (chain.wait + rule.retry.maximum) for chain in chains)),
        idle=_seconds(max(silence(rule.retry, chain) for chain in chains)),
        cache=_cache(features.cache, gateway.files.worker.templates),
        coalesce=features.coalesce,
        batch=_batch(features),
        **{"async": None if features.jobs is None else told.Async(queue=features.jobs.queue)},
        aggregate=_aggregate(features.aggregate, hop),
        stream=_stream(features.stream),
        attempts=max(chain.attempts for chain in chains),
        retry_on=tuple(sorted(each.value for each in rule.retry.on)),
    )


def _backend(backend: Backend, sources: RouteSources) -> told.Backend:
    spec = sources.backends[backend.ref].spec
    newer = spec.provider in {Provider.OPENAI, Provider.AZURE_OPENAI}
    return told.Backend(
        model=backend.model,
        prefill=(spec.prefill or _PREFILL.get(spec.provider, Prefill.NONE)).value,
        limit="max_completion_tokens" if newer else "max_tokens",
        schema_=_schema(backend),
    )


def _schema(backend: Backend) -> Literal["Any", "OpenAI", "Anthropic"]:
    match backend.schema:
        case "OpenAI" | "Anthropic" as spoken:
            return spoken
    return "Any"


def _cache(cache: Cache | None, templates: str) -> told.Cache | None:
    if cache is None:
        return None
    warm = cache.warm_up
    files = () if warm is None else (Path(templates, warm.config_map_ref.name),)
    return told.Cache(
        ttl=_seconds(cache.ttl),
        scope=cache.scope.value,
        warm_up=told.WarmUp(files=files) if files else None,
    )


def _batch(features: Features) -> told.Batch | None:
    batch = features.batch
    return None if batch is None else told.Batch(window=_seconds(batch.window), max_size=batch.max_size)


def _aggregate(aggregate: Aggregate | None, hop: Hop) -> told.Aggregate | None:
    """Over those of its backends that can be used; one alone is nothing to aggregate."""
    if aggregate is None:
        return None
    usable = tuple(label for label in dict.fromkeys(aggregate.backends) if label in hop.alone)
    return told.Aggregate(strategy=aggregate.strategy.value, backends=usable) if len(usable) > 1 else None


def _stream(guard: StreamGuard | None) -> told.StreamGuard | None:
    if guard is None:
        return None
    return told.StreamGuard(
        first_token=_seconds(guard.first_token), stall=_seconds(guard.stall), recover=guard.recover.value
    )


def _store(store: Store | None, password: str) -> told.Store:
    if store is None or store.url is None:
        return told.Store()
    return told.Store(
        type="Redis", url=store.url, password=None if store.secret_ref is None else Path(password)
    )


def _seconds(duration: timedelta) -> float:
    return duration / timedelta(seconds=1)
