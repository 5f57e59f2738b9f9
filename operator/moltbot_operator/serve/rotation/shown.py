"""How rotations stand, as people and programs are told: never a value."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moltbot_operator.serve.rotation.rotations import Rotations
    from moltbot_operator.serve.rotation.task import Rotation

__all__ = ["exposed", "shown"]


def shown(rotation: "Rotation") -> dict[str, Any]:
    """As `status.credential` shows it in a cluster."""
    from moltbot_operator.rotation.status import written_state  # noqa: PLC0415 - few need it

    return {name: value for name, value in written_state(rotation.store.state).items() if value is not None}


def exposed(rotations: "Rotations") -> Iterator[str]:
    """Lines of metrics, with the operator's names."""
    known = rotations.all
    backends = [each for each in known if each.subject.kind == "backend"]
    keys = [each for each in known if each.subject.kind == "secret"]
    now = datetime.now(UTC)

    def since(moment: datetime | None) -> float | None:
        return None if moment is None else (now - moment).total_seconds()

    def at(moment: datetime | None) -> float | None:
        return None if moment is None else moment.timestamp()

    yield from _gauge(
        backends,
        "moltbot_credential_age_seconds",
        "Since the credential in use was promoted",
        lambda each: since(each.store.state.rotated),
    )
    yield from _gauge(
        backends,
        "moltbot_credential_interval_seconds",
        "Age at which it is to be replaced",
        lambda each: each.plan.policy.interval.total_seconds() if each.plan else None,
    )
    yield from _gauge(
        backends,
        "moltbot_credential_next_rotation_timestamp_seconds",
        "When the next rotation is due",
        lambda each: at(each.store.state.due),
    )
    yield from _gauge(
        backends,
        "moltbot_credential_expiry_timestamp_seconds",
        "When it expires, where that is known",
        lambda each: at(each.store.state.not_after),
    )
    yield from _gauge(
        backends,
        "moltbot_rotation_attempts",
        "Rotations that failed since the last that succeeded",
        lambda each: each.store.state.attempts,
    )
    yield from _gauge(
        keys,
        "moltbot_consumer_key_age_seconds",
        "Since clients use the key",
        lambda each: since(each.store.state.rotated),
    )
    yield from _gauge(
        keys,
        "moltbot_consumer_key_next_rotation_timestamp_seconds",
        "When the next rotation is due",
        lambda each: at(each.store.state.due),
    )
    yield "# HELP moltbot_rotation_failures_total What went wrong with rotations"
    yield "# TYPE moltbot_rotation_failures_total counter"
    for each in known:
        name = each.subject.name if each.subject.kind == "backend" else f"secret {each.subject.name}"
        for reason, count in sorted(each.failures.items()):
            yield f'moltbot_rotation_failures_total{{backend="{name}",reason="{reason}"}} {count}'


def _gauge(
    known: Sequence["Rotation"], name: str, text: str, value: Callable[["Rotation"], float | None]
) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
    for each in known:
        if (found := value(each)) is not None:
            yield f'{name}{{{each.subject.kind}="{each.subject.name}"}} {found}'
