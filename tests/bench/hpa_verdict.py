"""What two series of worker counts say of each other."""

from hpa_metrics import PERIOD
from hpa_shapes import SECONDS

COLUMNS = {
    "name": "load",
    "points": "syncs",
    "changes": "changes by the HPA",
    "exact": "exact",
    "near": "within 1",
    "shifted": "same but for one sync",
    "held": "held on purpose",
    "apart": "apart",
    "worst": "worst",
}
"""Figure of a load -> its title. `worst` is the largest difference, what is held on purpose left out."""


def judged(track):
    """Each look's (second, ours, hpa, verdict)."""
    ours, hpa = track.ours[: len(track.hpa)], track.hpa

    def far(here, others, at):
        return min(abs(here - other) for other in others[max(0, at - 1) : at + 2]) > 1

    for at, (second, mine, its) in enumerate(zip(track.seconds, ours, hpa, strict=False)):
        verdict = "exact" if mine == its else "near" if abs(mine - its) == 1 else "shifted"
        if far(mine, hpa, at) or far(its, ours, at):
            kept = mine > its and any(begin <= second < end for begin, end in track.shape.holds)
            verdict = "held" if kept else "apart"
        yield second, mine, its, verdict


def summed(track):
    """The figures of one load, and what is wrong with it."""
    looks = list(judged(track))
    verdicts = [verdict for *_, verdict in looks]
    figures = {
        "name": track.shape.name,
        "points": len(looks),
        "changes": sum(before != after for before, after in zip(track.hpa, track.hpa[1:], strict=False)),
        **{verdict: verdicts.count(verdict) for verdict in ("exact", "near", "shifted", "held", "apart")},
        "worst": max((abs(mine - its) for _, mine, its, verdict in looks if verdict != "held"), default=0),
    }
    faults = []
    if figures["apart"]:
        faults.append(f"apart at {figures['apart']} of {len(looks)} syncs")
    if len(looks) < SECONDS / PERIOD / 2:
        faults.append(f"the HPA synced {len(looks)} times only: the machine is too busy")
    if figures["changes"] == 0:
        faults.append("the HPA changed nothing: nothing was compared")
    return figures, faults


def show(track):
    """Every look, for people who look for a difference."""
    for (second, mine, its, verdict), note in zip(judged(track), track.notes, strict=False):
        print(f"{second:6.1f} s  ours {mine:3}  hpa {its:3}  {verdict:8}  {note}")
