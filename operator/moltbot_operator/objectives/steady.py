"""What is shown changes when something happened, not with each look: no write at idle, no flapping.

- What is shown stays while the verdict is the same and no figure has moved by more than a tenth.
- Under traffic the figures are shown anew every ten minutes at the latest.
- Not met is shown at once; met again only after it has held for five minutes.
- Where traffic has become too little to tell, the last verdict stays for ten minutes.
- An operator that has just started has no figures: what was shown in the last ten minutes stays meanwhile.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from moltbot_operator.objectives.verdict import Figures, Judgement, Verdict

__all__ = ["Steady", "settle"]

RENEWED: Final = timedelta(minutes=10)
"""Figures of a backend under traffic are never older than this."""

PROVEN: Final = timedelta(minutes=5)
"""How long objectives must hold before what was not met counts as met."""

MOVED: Final = 0.1
"""Relative change of a figure that is worth showing."""

SHARE_MOVED: Final = 0.01
"""Change of the success rate that is worth showing."""

AGAIN: Final = " Within the objectives again since "


@dataclass(frozen=True)
class Steady:
    """What is shown of a backend's objectives."""

    verdict: Verdict
    said: str
    figures: Figures | None
    at: datetime
    """When it was measured."""
    good_since: datetime | None = None
    """Since when what is shown as not met holds again; None where it doesn't."""

    @property
    def message(self) -> str:
        """The condition's message."""
        if self.good_since is None:
            return self.said
        return f"{self.said}{AGAIN}{_time(self.good_since)}; shown as met once that has lasted 5 minutes."

    @classmethod
    def recorded(cls, verdict: Verdict, message: str, figures: Figures | None, at: datetime) -> "Steady":
        """As a resource's status tells it."""
        return cls(verdict, message.partition(AGAIN)[0], figures, at)


def settle(shown: Steady | None, judged: Judgement, now: datetime, *, waiting: bool) -> Steady:
    """What to show from now on; `shown` while nothing happened. `waiting`: a second look is due."""
    fresh = Steady(judged.verdict, _said(judged, now), judged.figures, now)
    if shown is None:
        return fresh
    recent = now - shown.at <= RENEWED
    if waiting and judged.figures is None and recent:
        return shown
    if judged.verdict in _TOO_LITTLE and shown.verdict.met is not None and judged.traffic and recent:
        return replace(shown, good_since=None)
    if shown.verdict.met is False and judged.verdict.met:
        since = shown.good_since or now
        return fresh if now - since >= PROVEN else replace(shown, good_since=since)
    same = shown.verdict is judged.verdict and not _moved(shown.figures, judged.figures)
    accurate = all(line in shown.said for line in judged.lines if line.startswith("Accuracy"))
    if same and accurate and (recent or not judged.traffic):
        return replace(shown, good_since=None)
    return fresh


_TOO_LITTLE: Final = frozenset({Verdict.NO_DATA, Verdict.NOT_OFFERED})


def _said(judged: Judgement, now: datetime) -> str:
    lines = list(judged.lines) or ["Watched without a bound: see status.observed"]
    if judged.figures is not None:
        lines.append(f"Measured over 5 minutes until {_time(now)}")
    return ". ".join(lines) + "."


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _moved(before: Figures | None, after: Figures | None) -> bool:
    if before is None or after is None:
        return before is not after
    if (before.success_rate is None, before.latency is None) != (
        after.success_rate is None,
        after.latency is None,
    ):
        return True
    if abs((before.success_rate or 0) - (after.success_rate or 0)) > SHARE_MOVED:
        return True
    pairs = [(before.per_second, after.per_second)]
    if before.latency and after.latency:
        pairs.append((before.latency.total_seconds(), after.latency.total_seconds()))
    return any(abs(one - other) > MOVED * max(one, other) for one, other in pairs)
