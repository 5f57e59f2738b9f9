"""From resources to the intermediate form: which backends serve each rule, in which order, and what not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from moltbot_operator.api import Failover, RetryCondition, Rule, Schema, Selection
from moltbot_operator.compile.backends import resolve
from moltbot_operator.compile.consumers import consumer_limits, told_apart
from moltbot_operator.compile.features import NOTHING, features_of
from moltbot_operator.compile.ir import Backend, Chain, Choice, Gateway, Hop, PlannedRule, Retry
from moltbot_operator.compile.patterns import EVERY_PATH, RequestCondition, condition
from moltbot_operator.compile.result import RuleReport
from moltbot_operator.compile.sources import BackendRef, Problem, RouteSources
from moltbot_operator.compile.tasks import AUTO, task_models

__all__ = ["Plan", "plan"]

_EVERY_REQUEST = (RequestCondition(EVERY_PATH),)


@dataclass
class Plan:
    """The intermediate form, what became of each rule, and what looks like a mistake."""

    gateway: Gateway
    reports: tuple[RuleReport, ...]
    missing: dict[BackendRef, Problem]
    """Backends that can't be used, and why."""
    warnings: tuple[Problem, ...]


@dataclass
class _Planner:
    sources: RouteSources
    usable: dict[BackendRef, Backend] = field(default_factory=dict)
    missing: dict[BackendRef, Problem] = field(default_factory=dict)

    def backend(self, reference: str) -> Backend | Problem:
        """The backend behind a reference, resolved once, or why it can't be used."""
        ref = BackendRef.parse(reference, self.sources.namespace)
        if ref in self.missing:
            return self.missing[ref]
        if ref not in self.usable:
            found = resolve(ref, self.sources)
            if isinstance(found, Problem):
                self.missing[ref] = found
                return found
            self.usable[ref] = found
        return self.usable[ref]

    def rule(self, rule: Rule) -> tuple[PlannedRule, RuleReport]:
        """The rule as it will be served, and what is reported on it."""
        problems: list[Problem] = []
        conditions = self._conditions(rule, problems)
        candidates = [(c.weight, b) for c in rule.candidates if (b := self._usable(c.backend, problems))]
        fallbacks = [b for reference in rule.fallback if (b := self._usable(reference, problems))]
        aggregated = [b for name in _aggregated(rule) if (b := self._usable(name, problems))]
        choices = _choices(candidates, fallbacks, rule.failover)
        if not choices and not problems:
            problems.append(
                Problem("NoUsableBackend", "every candidate has weight 0: give one a weight above 0")
            )
        problem = _summary(rule.name, problems)
        used = {backend.label for choice in choices for backend in choice.chain.backends}
        planned = PlannedRule(
            name=rule.name,
            conditions=conditions,
            choices=choices if conditions else (),
            retry=_retry(rule.failover),
            consumers=self._consumers(used),
            models=_models(rule, [backend for _, backend in candidates], fallbacks),
            problem=problem,
            latency=rule.selection is Selection.LOWEST_LATENCY,
            auto=any(AUTO in match.model for match in rule.matches),
        )
        planned = replace(
            planned, kept=self._kept(rule, planned), worked=self._worked(rule, planned, aggregated)
        )
        return planned, RuleReport(rule.name, bool(planned.choices), problem)

    def _kept(self, rule: Rule, planned: PlannedRule) -> PlannedRule | None:
        """The rule for operations on stored objects, which only the backend that made them knows.

        They stay with the first candidate that has a weight: if another took its place while it can't be
        used, what was stored there would be lost afterwards.
        """
        if not planned.choices or len(rule.candidates) + len(rule.fallback) == 1:
            return None
        home = next(candidate.backend for candidate in rule.candidates if candidate.weight)
        problems: list[Problem] = []
        backend = self._usable(home, problems)
        choices = () if backend is None else (Choice(1, _chain([backend], rule.failover)),)
        return replace(
            planned, choices=choices, problem=_summary(rule.name, problems), key=f"{rule.name}/kept"
        )

    def _worked(self, rule: Rule, planned: PlannedRule, aggregated: Sequence[Backend]) -> PlannedRule | None:
        """The rule for requests that go to the worker first; None if it asks for nothing that needs it.

        Backends that the rule only aggregates must be in a consumer's scope too.
        """
        features = features_of(rule)
        native = _native(planned.choices, rule.failover)
        if (features is None and not native) or not planned.choices:
            return None
        ordered = [backend for choice in planned.choices for backend in choice.chain.backends]
        every = tuple(dict.fromkeys([*ordered, *aggregated]))
        once = rule.failover.model_copy(update={"max_retries": 0})
        return replace(
            planned,
            consumers=self._consumers({backend.label for backend in every}),
            key=f"{rule.name}/worker",
            hop=Hop(
                features=features or NOTHING,
                alone={backend.label: _chain([backend], once) for backend in every},
                calls=tuple(planned.final(number) for number in range(len(planned.choices))),
                native=native,
            ),
        )

    def _usable(self, reference: str, problems: list[Problem]) -> Backend | None:
        found = self.backend(reference)
        if isinstance(found, Problem):
            problems.append(found)
            return None
        return found

    @staticmethod
    def _conditions(rule: Rule, problems: list[Problem]) -> tuple[RequestCondition, ...]:
        if not rule.matches:
            return _EVERY_REQUEST
        made = []
        for number, match in enumerate(rule.matches):
            found = condition(match)
            if isinstance(found, str):
                problems.append(Problem("InvalidRegex", f"matches[{number}]: {found}"))
            else:
                made.append(found)
        return tuple(made)

    def _consumers(self, used: set[str]) -> tuple[str, ...] | None:
        consumers = self.sources.spec.consumers
        allowed = tuple(c.name for c in consumers if used <= self._scopes[c.name])
        if any(consumer.auth.anonymous is not None for consumer in consumers):
            return None if allowed else ()
        return allowed

    @cached_property
    def _scopes(self) -> dict[str, frozenset[str]]:
        """Labels of the backends that each consumer may use."""
        return {
            consumer.name: frozenset(
                found.label
                for reference in consumer.backends
                if isinstance(found := self.backend(reference), Backend)
            )
            for consumer in self.sources.spec.consumers
        }


def _aggregated(rule: Rule) -> tuple[str, ...]:
    return () if rule.aggregate is None else rule.aggregate.backends


def _summary(rule: str, problems: Sequence[Problem]) -> Problem | None:
    if not problems:
        return None
    different = list(dict.fromkeys(problem.message for problem in problems))
    return Problem(problems[0].reason, f"rule {rule}: " + "; ".join(different))


def _retry(failover: Failover) -> Retry:
    return Retry(
        retries=failover.max_retries,
        on=frozenset(failover.retry_on),
        base=failover.backoff.base,
        maximum=failover.backoff.max,
        per_try=failover.per_try_timeout,
    )


def _choices(
    candidates: Sequence[tuple[int, Backend]], fallbacks: Sequence[Backend], failover: Failover
) -> tuple[Choice, ...]:
    """One choice a weighted candidate: it first, then the other candidates in turn, then the fallbacks.

    Without any usable weighted candidate, what is left serves in the order written.
    """
    order = [backend for _, backend in candidates]
    choices = []
    for at, (weight, _) in enumerate(candidates):
        if weight:
            choices.append(Choice(weight, _chain([*order[at:], *order[:at], *fallbacks], failover)))
    if not choices and (rest := [*order, *fallbacks]):
        choices.append(Choice(1, _chain(rest, failover)))
    return tuple(choices)


def _native(choices: Sequence[Choice], failover: Failover) -> dict[str, tuple[Chain | None, ...]]:
    """See Hop."""
    made: dict[str, tuple[Chain | None, ...]] = {}
    for schema in Schema:
        left = [
            [backend for backend in choice.chain.backends if backend.schema in {None, schema.value}]
            for choice in choices
        ]
        every = [list(choice.chain.backends) for choice in choices]
        if left != every:
            made[schema.value] = tuple(_chain(each, failover) if each else None for each in left)
    return made


def _chain(backends: Sequence[Backend], failover: Failover) -> Chain:
    """The order of attempts.

    Direct, unless a later backend takes the client's model name, which the first would overwrite, or waits
    longer for its first byte than the first may; or the first has a rate, which the inner tier counts, or is
    sent tokens, which may run out: only the inner tier's answer that there is no credential leads to a
    further attempt.

    A backend above its rate uses up an attempt without being asked, so there is one more for each of those.
    """
    first, *others = dict.fromkeys(backends)
    overwritten = first.model is not None and any(backend.model is None for backend in others)
    cut_short = failover.per_try_timeout is None and any(b.first_byte > first.first_byte for b in others)
    runs_out = bool(others) and first.credential is not None and first.credential.token is not None
    direct = first.rate is None and not (overwritten or cut_short or runs_out)
    every, wanted = (first, *others), 1 + failover.max_retries
    spilling = sum(backend.rate is not None for backend in every[:-1])
    attempts = max(wanted, min(len(every), wanted + spilling))
    wait = failover.per_try_timeout or max(backend.first_byte for backend in every)
    overlong = len(every) > 1 and RetryCondition.CONTEXT_LENGTH in failover.retry_on
    return Chain(every, direct, attempts, wait, overlong)


def _models(rule: Rule, candidates: Sequence[Backend], fallbacks: Sequence[Backend]) -> tuple[str, ...]:
    """What a client may write as `model`: what the rule asks for, or else what its candidates are called.

    A rule that takes any name takes `auto` too, if each backend has a model of its own to put in its place.
    """
    named = [name for match in rule.matches for name in match.model if not name.endswith("*")]
    if all(match.model for match in rule.matches) and rule.matches:
        return tuple(dict.fromkeys(named))
    called = [backend.model or backend.ref.name for backend in candidates]
    auto = [AUTO] if all(backend.model is not None for backend in (*candidates, *fallbacks)) else []
    return tuple(dict.fromkeys([*named, *called, *auto]))


def plan(sources: RouteSources) -> Plan:
    """Everything that the route means."""
    planner = _Planner(sources)
    planned = [planner.rule(rule) for rule in sources.spec.rules]
    rules = tuple(rule for rule, _ in planned)
    used = {
        backend.label: backend
        for rule in rules
        for choice in rule.choices
        for backend in choice.chain.backends
    }
    for rule in rules:
        if rule.worked is not None and rule.worked.hop is not None:
            used |= {label: chain.first for label, chain in rule.worked.hop.alone.items()}
    anonymous = next((c.name for c in sources.spec.consumers if c.auth.anonymous is not None), None)
    gateway = Gateway(
        namespace=sources.namespace,
        route=sources.name,
        files=sources.files,
        rules=rules,
        backends=dict(sorted(used.items())),
        anonymous=anonymous,
        consumers=told_apart(sources.spec.consumers, loopback=sources.files.loopback),
        limits=consumer_limits(sources.spec.consumers),
        audit=sources.spec.audit,
        certificate=None if sources.spec.gateway.tls is None else sources.spec.gateway.tls.secret_ref.name,
        task_models=task_models(rules, used.values(), sources),
        drilled=sources.spec.rollout is not None and sources.spec.rollout.testing.fault_drill,
        store=None if sources.spec.worker is None else sources.spec.worker.store,
    )
    reports = tuple(report for _, report in planned)
    return Plan(gateway, reports, planner.missing, ())
