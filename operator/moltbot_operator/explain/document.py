"""An explanation as a document: what `moltbot explain -o json` prints, and what the text is made of."""

import json
from typing import Any

from moltbot_operator.api import format_duration
from moltbot_operator.compile import operations
from moltbot_operator.compile.features import told
from moltbot_operator.compile.ir import Backend, Choice, Gateway, Hop, PlannedRule, Retry
from moltbot_operator.explain.evaluate import Answered, Explanation, Option
from moltbot_operator.explain.expressions import whole
from moltbot_operator.explain.failures import Course, Fault, course

__all__ = ["document"]

Json = dict[str, Any]


def document(gateway: Gateway, found: Explanation) -> Json:
    """Facts only, by name; durations as the manifests write them, chances from 0 to 1."""
    request, rule = found.request, found.rule
    made: Json = {
        "route": f"{gateway.namespace}/{gateway.route}",
        "request": {
            "method": request.method,
            "path": request.path,
            "headers": dict(request.headers),
            "model": found.model,
            "consumer": request.consumer or gateway.anonymous,
        },
        "rule": None if rule is None else rule.name,
        "match": found.match,
        "because": found.because or None,
        "problem": None if rule is None or rule.problem is None else rule.problem.message,
        "task": None if found.task is None else {"kind": found.task[0], "reason": found.task[1]},
        "passed": [{"rule": each.rule, "because": list(each.because)} for each in found.passed],
        "answered": None if found.answered is None else _answered(found.answered),
        "candidates": [],
        "backends": [],
    }
    if rule is None or found.answered is not None:
        return made
    limit = gateway.limits.get(made["request"]["consumer"])
    used = {each.label: each for option in found.options for each in option.choice.chain.backends}
    return made | {
        "selection": "LowestLatency" if rule.by_latency else "Weighted",
        "candidates": [_option(option, rule.retry) for option in found.options],
        "backends": [_backend(each) for each in used.values()],
        "failover": _failover(rule),
        "worker": None if found.hop is None else _worker(found.hop, request.path),
        "consumerLimit": None if limit is None else {"requestsPerSecond": limit.rate, "burst": limit.burst},
    }


def _answered(answered: Answered) -> Json:
    return {"status": answered.status, "code": answered.code, "message": answered.message}


def _option(option: Option, retry: Retry) -> Json:
    chain = option.choice.chain
    last = len(chain.backends) - 1
    return {
        "backend": chain.first.label,
        "chance": None if option.chance is None else round(float(option.chance), 6),
        "answered": None if option.refused is None else _answered(option.refused),
        "attempts": [chain.backends[min(number, last)].label for number in range(chain.attempts)],
        "failures": [_failure(option.choice, retry, fault) for fault in Fault],
    }


def _failure(choice: Choice, retry: Retry, fault: Fault) -> Json:
    chain = choice.chain
    everywhere = dict.fromkeys((each.label for each in chain.backends), fault)
    return {
        "fault": fault.words,
        "atFirst": _course(course(chain, retry, {chain.first.label: fault})),
        "atAll": _course(course(chain, retry, everywhere)),
    }


def _course(came: Course) -> Json:
    return {"status": came.status, "tries": list(came.tries)}


def _worker(hop: Hop, path: str) -> Json:
    asked = {name: json.loads(value) for name, value in told(hop.features).items()}
    spoken = [api for api in sorted(hop.native) if whole(operations.SPOKEN[api], path)]
    return {"asked": asked, "translatesFrom": spoken}


def _failover(rule: PlannedRule) -> Json:
    retry = rule.retry
    return {
        "maxRetries": retry.retries,
        "retryOn": sorted(retry.on),
        "backoff": {"base": format_duration(retry.base), "max": format_duration(retry.maximum)},
        "perTryTimeout": None if retry.per_try is None else format_duration(retry.per_try),
    }


def _backend(backend: Backend) -> Json:
    scheme = "http" if backend.tls is None else "https"
    credential, breaker = backend.credential, backend.breaker
    return {
        "name": backend.label,
        "url": f"{scheme}://{backend.host_header}{backend.prefix}",
        "model": backend.model,
        "credential": None
        if credential is None
        else {
            "secret": f"{credential.namespace}/{credential.secret}",
            "key": credential.key,
            "header": credential.header,
            "kind": "key" if credential.token is None else "token",
        },
        "timeouts": {
            "connect": format_duration(backend.connect),
            "firstByte": format_duration(backend.first_byte),
            "idle": format_duration(backend.idle),
        },
        "limits": {
            "maxConnections": backend.max_connections,
            "maxPendingRequests": backend.max_pending,
            "requestsPerSecond": None if backend.rate is None else backend.rate.rate,
            "burst": None if backend.rate is None else backend.rate.burst,
        },
        "circuitBreaker": None
        if breaker is None
        else {
            "errorRatePercent": breaker.error_rate_percent,
            "minimumRequests": breaker.minimum_requests,
            "interval": format_duration(breaker.interval),
            "ejectionTime": format_duration(breaker.ejection_time),
        },
    }
