"""`moltbot drill`: does failover fire?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moltbot_operator.commands.given import FileArguments, RouteOption, manifests
from moltbot_operator.commands.output import Format, Output, print_json

if TYPE_CHECKING:
    from moltbot_operator.drill import Result, Trial

__all__ = ["drill"]


def drill(  # noqa: PLR0917 - typer's options
    files: FileArguments,
    backend: Annotated[str, typer.Option(metavar="NAME", help="The backend that fails.")],
    fault: Annotated[
        list[str] | None,
        typer.Option(help="refuse, reset, hang, 429, 500, 503, 401 or 403; may be given several times."),
    ] = None,
    real: Annotated[
        bool,
        typer.Option("--real", help="Ask the real endpoints of the other backends, with their credentials."),
    ] = False,
    route: RouteOption = None,
    output: Output = Format.TEXT,
) -> None:
    """Run the gateway here, let one backend fail, and show whether another serves, rule by rule.

    The backends are stand-ins on this machine that answer at once (with --real all but the failing one are
    real); waits are cut to 2 s, and weights are such that the backend is asked first. Faults, if none is
    given: refuse, reset, hang, 429, 500, 503.
    Exit codes: 0 another backend served every request, 1 not so, 2 wrong usage.
    """
    from moltbot_operator import drill as drilling  # noqa: PLC0415 - the other commands start faster

    wanted = list(dict.fromkeys(fault or ("refuse", "reset", "hang", "429", "500", "503")))
    if unknown := [each for each in wanted if each not in drilling.FAULTS]:
        known = ", ".join(drilling.FAULTS)
        raise typer.BadParameter(f"{unknown[0]!r} is no fault: choose of {known}", param_hint="--fault")
    result = drilling.drill(manifests(files), route, backend, wanted, real=real)
    passed = bool(result.trials) and all(each.fired(result.backend) for each in result.trials)
    passed = (passed and not result.unreached) or bool(
        not result.trials and result.fallbacks and not result.unreached
    )
    if output is Format.JSON:
        print_json(_document(result, passed=passed))
    else:
        typer.echo("\n".join(_lines(result, passed=passed)))
    if not passed:
        raise typer.Exit(1)


def _document(result: "Result", *, passed: bool) -> dict[str, Any]:
    return {
        "route": result.route,
        "backend": result.backend,
        "passed": passed,
        "trials": [
            {
                "rule": each.rule,
                "fault": each.fault,
                "status": each.status,
                "servedBy": each.backend,
                "attempts": each.attempts,
                "milliseconds": each.milliseconds,
                "expectedStatus": each.expected,
                "passed": each.fired(result.backend),
            }
            for each in result.trials
        ],
        "fallbackOnly": list(result.fallbacks),
        "unreached": list(result.unreached),
    }


def _lines(result: "Result", *, passed: bool) -> Iterator[str]:
    from moltbot_operator.explain.text import table  # noqa: PLC0415

    yield f"route {result.route}, backend {result.backend} fails"
    rows = [
        (
            "ok" if each.fired(result.backend) else "NOT",
            f"rule {each.rule}",
            each.fault,
            _told(each),
            f"{each.milliseconds} ms",
        )
        for each in result.trials
    ]
    yield from table(rows)
    for rule in result.fallbacks:
        yield f"  --   rule {rule} has it as a fallback only: nothing fails over from it"
    for rule in result.unreached:
        yield f"  NOT  rule {rule}: no request is known that it takes, so it was not tried"
    yield (
        "failover fires"
        if passed
        else "failover does not fire everywhere: see the rule's failover.retryOn, maxRetries, fallback"
    )


def _told(trial: "Trial") -> str:
    attempts = f"{trial.attempts} attempt{'' if trial.attempts == 1 else 's'}"
    return f"{trial.status} from {trial.backend or 'the gateway'} after {attempts}"
