"""All checks of files, in order: what is wrong with a file does not hide what is wrong with another."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from moltbot_operator.api import MoltBotRoute, unsupported_backend
from moltbot_operator.check.envoy import validated
from moltbot_operator.check.findings import Finding, Level
from moltbot_operator.check.reading import Placed, Read, manifests, read_file
from moltbot_operator.compile import Files, Problem, RouteSources
from moltbot_operator.compile.lint import warnings
from moltbot_operator.compile.plan import plan
from moltbot_operator.errors import EnvoyRejected, InvalidInput
from moltbot_operator.serve.files import Manifests

__all__ = ["Checked", "check"]

_NAMED: Final = re.compile(r"\b(?:rules? |consumers? |consumers\[|ModelBackend )([a-z0-9][-a-z0-9./]*)")
_FIELD: Final = re.compile(
    r"\b((?:failover|limits|circuitBreaker|auth|timeouts|spec|audit|consumers)\.[\w.\[\]-]+|retryOn)\b"
)

Sources = Callable[[Manifests, str], RouteSources]


@dataclass(frozen=True)
class Checked:
    """The files that were looked at, and what was found, in their order."""

    files: tuple[str, ...]
    findings: tuple[Finding, ...]


def check(files: Sequence[Path], named: Sequence[Path], sources: Sources, *, envoy: bool = True) -> Checked:
    """Everything that can be found. `named` files are expected to hold something of ours.

    `sources` makes the compiler's input for a route of the manifests; `envoy` False leaves out its own check.
    """
    reads = {file: read_file(file, named=file in named) for file in files}
    findings = [finding for each in reads.values() for finding in each.findings]
    placed = [each for found in reads.values() for each in found.objects]
    findings += _twice(placed)
    findings += _backends(placed)
    if not placed and not findings:
        findings.append(
            Finding(
                Level.ERROR,
                "NothingToCheck",
                "there is no MoltBotRoute or ModelBackend in it: give the files that have them",
                str(named[0] if named else files[0]),
            )
        )
    if not any(each.reason == "Twice" for each in findings):
        findings += _routes(placed, reads, sources, envoy=envoy)
    order = {str(file): number for number, file in enumerate(files)}
    findings.sort(key=lambda each: (order.get(each.file, -1), each.position.line if each.position else 0))
    return Checked(tuple(map(str, files)), tuple(dict.fromkeys(findings)))


def _twice(placed: Sequence[Placed]) -> Iterator[Finding]:
    known: dict[tuple[str, str], Placed] = {}
    for each in placed:
        first = known.setdefault((each.manifest.kind, each.name), each)
        if first is not each:
            message = f"{each.manifest.kind} {each.name} is given twice, first in {first.file}: remove one"
            position = each.document.at("metadata.name")
            yield Finding(Level.ERROR, "Twice", message, each.file, position)


def _backends(placed: Sequence[Placed]) -> Iterator[Finding]:
    for each in placed:
        if not isinstance(each.manifest, MoltBotRoute):
            for name in unsupported_backend(each.manifest.spec):
                yield _unsupported(each, name)


def _unsupported(placed: Placed, name: str) -> Finding:
    message = f"{placed.manifest.kind} {placed.name}: spec.{name} is not supported yet: remove it"
    return Finding(
        Level.ERROR,
        "NotSupportedYet",
        message,
        placed.file,
        placed.document.at(f"spec.{name.partition(':')[0]}"),
    )


def _routes(
    placed: Sequence[Placed], reads: dict[Path, Read], sources: Sources, *, envoy: bool
) -> Iterator[Finding]:
    try:
        given = manifests(reads)
    except InvalidInput as error:
        for line in str(error).splitlines():
            file, _, said = line.partition(": ")
            yield Finding(Level.ERROR, "Invalid", said, file)
        return
    for each in placed:
        if isinstance(each.manifest, MoltBotRoute):
            yield from _route(each, placed, given, sources, envoy=envoy)


def _route(
    route: Placed, placed: Sequence[Placed], held: Manifests, sources: Sources, *, envoy: bool
) -> Iterator[Finding]:
    given = sources(held, route.name)
    planned = plan(given)
    problems = [each.problem for each in planned.reports if each.problem is not None]
    for problem in problems:
        yield _finding(Level.ERROR, problem, route, placed)
    for problem in warnings(planned, given):
        if problem.reason not in {each.reason for each in problems}:
            yield _finding(Level.WARNING, problem, route, placed)
    yield from _local(given, placed)
    if envoy:
        try:
            refused = validated(given, held.data)
        except EnvoyRejected as error:
            refused = str(error)
        if refused is not None:
            message = f"MoltBotRoute {route.name}: Envoy refuses what it compiles to: {refused}"
            yield Finding(Level.ERROR, "EnvoyRejected", message, route.file, route.document.at("spec"))


def _finding(level: Level, problem: Problem, route: Placed, placed: Sequence[Placed]) -> Finding:
    """Where a problem is: at the object, rule or consumer that its message names."""
    at, path = route, "spec"
    for name in _NAMED.findall(problem.message):
        backend = next(
            (each for each in placed if each.manifest.kind == "ModelBackend" and each.name == name), None
        )
        if backend is not None:
            at, path = backend, "spec"
            break
        spec = route.manifest.spec
        if any(rule.name == name for rule in getattr(spec, "rules", ())):
            path = f"spec.rules[{name}]"
            break
        if any(consumer.name == name for consumer in getattr(spec, "consumers", ())):
            path = f"spec.consumers[{name}]"
            break
    field = _FIELD.search(problem.message)
    inside = f"{path}.{field[1].removeprefix('spec.')}" if field is not None else path
    message = (
        f"{at.manifest.kind} {at.name}: {problem.message}"
        if at.name not in problem.message
        else problem.message
    )
    return Finding(level, problem.reason, message, at.file, at.document.at(inside))


def _local(given: RouteSources, placed: Sequence[Placed]) -> Iterator[Finding]:
    """Backends that only `moltbot serve` reaches: a pod's own address leads nowhere."""
    if not given.files.loopback:
        return
    missing = plan(replace(given, files=Files())).missing
    for ref, problem in missing.items():
        backend = next(
            (each for each in placed if each.manifest.kind == "ModelBackend" and each.name == str(ref)), None
        )
        if problem.reason == "Loop" and backend is not None:
            message = f"ModelBackend {ref}: its address is this machine's: moltbot serve alone reaches it"
            yield Finding(Level.WARNING, "Loop", message, backend.file, backend.document.at("spec.endpoint"))
