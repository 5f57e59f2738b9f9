"""Which rule takes a request, why, and where it goes: the walk of the public listener, without Envoy.

::

    consumer ─> method, operation ─> list of models ─> rules in order ─> scope ─> candidates
      401          405, 404             200, 404          404, 503        403
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import unquote

from moltbot_operator.compile import answers, operations
from moltbot_operator.compile.answers import Answer
from moltbot_operator.compile.ir import Choice, Gateway, Hop, PlannedRule
from moltbot_operator.compile.patterns import RequestCondition
from moltbot_operator.compile.tasks import AUTO
from moltbot_operator.errors import InvalidInput
from moltbot_operator.explain.body import Body, Refusal, read_body, task_of
from moltbot_operator.explain.expressions import whole
from moltbot_operator.explain.matching import lacks, unscanned_lacks, wants
from moltbot_operator.explain.request import Request

__all__ = ["Answered", "Explanation", "Option", "Passed", "explain"]


@dataclass(frozen=True)
class Answered:
    """An answer that the gateway makes itself; `code` as in the error's body."""

    status: int
    message: str
    code: str | None = None


@dataclass(frozen=True)
class Passed:
    """A rule that does not take the request: for each of its matches, what is lacking."""

    rule: str
    because: tuple[str, ...]


@dataclass(frozen=True)
class Option:
    """One candidate that the request may be given first."""

    choice: Choice
    chance: Fraction | None
    """None: by latency."""
    refused: Answered | None = None
    """What the client gets where this one is drawn and can't be asked."""


@dataclass(frozen=True)
class Explanation:
    """What becomes of a request. With `answered`, no backend is asked, whichever is drawn."""

    request: Request
    rule: PlannedRule | None = None
    match: int | None = None
    """Number of the match that takes it, counted from 0; None: the rule takes every request."""
    because: str = ""
    """What that match asks for."""
    passed: tuple[Passed, ...] = ()
    model: str | None = None
    task: tuple[str, str] | None = None
    """The kind of task and how it was found, where a rule asks for it."""
    options: tuple[Option, ...] = ()
    hop: Hop | None = None
    """Set where it goes through a worker, if one is there."""
    answered: Answered | None = None


def explain(gateway: Gateway, request: Request) -> Explanation:
    """What the gateway does with a request. InvalidInput for a consumer that the route does not have."""
    early = _consumer(gateway, request) or _before_rules(gateway, request)
    if early is not None:
        return Explanation(request, answered=early)
    return _Walk(gateway, request).result()


def _consumer(gateway: Gateway, request: Request) -> Answered | None:
    names = [each.name for each in gateway.consumers]
    known = [*names, *([gateway.anonymous] if gateway.anonymous else [])]
    if request.consumer is not None and request.consumer not in known:
        listed = ", ".join(known) or "none"
        raise InvalidInput(f"the route has no consumer {request.consumer}: choose one of its own ({listed})")
    if gateway.closed:
        return _answered(answers.closed())
    if gateway.anonymous is None and request.consumer is None:
        return Answered(
            401,
            f"No valid credential was given: the route's consumers are {', '.join(names)}.",
            "invalid_api_key",
        )
    return None


def _before_rules(gateway: Gateway, request: Request) -> Answered | None:
    if request.method in {"CONNECT", "OPTIONS", "TRACE", "TRACK"}:
        return _answered(answers.no_method())
    if not whole(operations.IS_OPERATION, request.path):
        return _answered(answers.no_operation())
    if request.method in {"GET", "HEAD"}:
        if whole(operations.MODELS, request.bare):
            return Answered(200, f"The list of models: {', '.join(_models(gateway, request)) or 'none'}.")
        if whole(operations.MODEL, request.bare):
            name = unquote(request.bare.partition("/v1/models/")[2] or request.bare.rpartition("/models/")[2])
            if name in _models(gateway, request):
                return Answered(200, f"The model {name}.")
            return _answered(answers.unknown_model())
    return None


def _models(gateway: Gateway, request: Request) -> list[str]:
    usable = [
        rule
        for rule in gateway.rules
        if rule.choices
        and (rule.consumers is None or (request.consumer or gateway.anonymous) in rule.consumers)
    ]
    return list(dict.fromkeys(name for rule in usable for name in rule.models))


def _answered(answer: Answer) -> Answered:
    error = json.loads(answer.body)["error"]
    return Answered(answer.status, error["message"], error["code"])


@dataclass
class _Walk:
    """The way along the entry routes, twice where the script must look at the request."""

    gateway: Gateway
    request: Request
    body: Body | None = None
    task: tuple[str, str] | None = None

    def result(self) -> Explanation:
        stored = any(rule.kept for rule in self.gateway.rules) and whole(
            operations.IS_STORED, self.request.path
        )
        rules = [(rule.kept or rule) if stored else rule for rule in self.gateway.rules]
        if self._scanned(rules) and (refusal := self._scan()) is not None:
            return self._ended(Answered(refusal.status, refusal.message))
        passed: list[Passed] = []
        for rule in rules:
            because = []
            for number, condition in enumerate(rule.conditions):
                lacking = lacks(condition, self.request, self._model, self.task and self.task[0])
                if not lacking:
                    at = None if condition.takes_everything else number
                    return self._taken(rule, at, condition, tuple(passed))
                because.append(" and ".join(lacking))
            passed.append(Passed(rule.name, tuple(because) or ("none of its matches can be used",)))
        by_model = any(each.models is not None for rule in rules for each in rule.conditions)
        none = answers.unknown_model() if by_model and self._model is not None else answers.no_rule()
        return self._ended(_answered(none), tuple(passed))

    @property
    def _model(self) -> str | None:
        return None if self.body is None else self.body.model

    def _scanned(self, rules: Sequence[PlannedRule]) -> bool:
        """Whether the first match by path and headers alone asks for what only the script can tell."""
        first = next(
            (
                condition
                for rule in rules
                for condition in rule.conditions
                if not any(unscanned_lacks(condition, self.request))
            ),
            None,
        )
        return first is not None and first.scanned

    def _scan(self) -> Refusal | None:
        body = read_body(self.request.body)
        if isinstance(body, Refusal):
            return body
        self.body = body
        if self.gateway.task_models is not None:
            task = task_of(self.request.headers, self.request.bare, body, self.gateway.task_models)
            if isinstance(task, Refusal):
                return task
            self.task = task
        return None

    def _ended(self, answer: Answered, passed: tuple[Passed, ...] = ()) -> Explanation:
        return Explanation(self.request, passed=passed, model=self._model, task=self.task, answered=answer)

    def _taken(
        self, rule: PlannedRule, number: int | None, condition: RequestCondition, passed: tuple[Passed, ...]
    ) -> Explanation:
        options = self._options(rule)
        taken = self._worked(rule)
        answered = None
        if not rule.choices:
            cause = "" if rule.problem is None else rule.problem.message
            answered = _answered(answers.refused(rule.name, cause))
        elif (refused := [each.refused for each in options if each.refused]) and len(refused) == len(options):
            answered = refused[0]
        elif taken.consumers is not None and self.request.consumer not in taken.consumers:
            chains = [choice.chain for choice in rule.choices]
            chains += [] if taken.hop is None else taken.hop.alone.values()
            used = dict.fromkeys(each.label for chain in chains for each in chain.backends)
            answered = Answered(
                403,
                f"The consumer's backends lack one of {', '.join(used)}, which rule {rule.name} uses.",
                "out_of_scope",
            )
        return Explanation(
            self.request,
            rule,
            number,
            wants(condition),
            passed,
            self._model,
            self.task,
            options,
            taken.hop,
            answered,
        )

    def _worked(self, rule: PlannedRule) -> PlannedRule:
        """The rule as it is for requests that go to a worker, where this one does."""
        worked = rule.worked
        if worked is None or worked.hop is None or self.request.method != "POST":
            return rule
        return worked if whole(worked.hop.paths, self.request.path) else rule

    def _options(self, rule: PlannedRule) -> tuple[Option, ...]:
        total = sum(choice.weight for choice in rule.choices)
        return tuple(
            Option(
                choice,
                None if rule.by_latency else Fraction(choice.weight, total),
                self._refused(rule, choice),
            )
            for choice in rule.choices
        )

    def _refused(self, rule: PlannedRule, choice: Choice) -> Answered | None:
        """What the script says where the drawn backend can't be asked with this body."""
        if not rule.drawn:
            return None
        if choice.chain.model is None:
            if self._model == AUTO and choice.chain.first.model is None:
                return Answered(400, "This backend has no model of its own to take for auto: name a model.")
            return None
        body = self.body or read_body(self.request.body)
        return Answered(body.status, body.message) if isinstance(body, Refusal) else None
