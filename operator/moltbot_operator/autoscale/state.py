"""What is remembered from one decision to the next.

Losing it is safe: the first decision without it takes the present number for a recommendation, so that
nothing is taken away for a window.
"""

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Change", "Recommendation", "State"]


@dataclass(frozen=True)
class Recommendation:
    """What was asked for at a time, before windows and policies."""

    at: datetime
    replicas: int


@dataclass(frozen=True)
class Change:
    """Workers added (above 0) or removed (below 0) at a time."""

    at: datetime
    by: int


@dataclass(frozen=True)
class State:
    """Recommendations and changes that windows and periods still reach."""

    recommendations: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()
