"""Whether a backend reaches what is expected of it: counts of its gateways, a score, and a verdict (pure).

::

    Counts of each pod, every minute or so ──▶ history ──▶ measure: the last five minutes ─┐
    a ConfigMap's key ──▶ read_score: a score and its age ─────────────────────────────────┼─▶ judge
    spec.objectives ───────────────────────────────────────────────────────────────────────┘

The time is passed in. docs/objectives.md says what each figure means.
"""

from moltbot_operator.objectives.counts import Counts
from moltbot_operator.objectives.score import NoScore, Score, read_score
from moltbot_operator.objectives.steady import Steady, settle
from moltbot_operator.objectives.verdict import Figures, Judgement, Verdict, judge
from moltbot_operator.objectives.window import WINDOW, History, Measured, Sample, added, measure

__all__ = [
    "WINDOW",
    "Counts",
    "Figures",
    "History",
    "Judgement",
    "Measured",
    "NoScore",
    "Sample",
    "Score",
    "Steady",
    "Verdict",
    "added",
    "judge",
    "measure",
    "read_score",
    "settle",
]
