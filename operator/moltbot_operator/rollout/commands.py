"""Commands of the spec (`promote`, `abort`, `retry`) that have no effect, and why."""

from moltbot_operator.rollout.state import Phase, State
from moltbot_operator.rollout.view import View

__all__ = ["remarks"]


def remarks(state: State, view: View) -> tuple[str, ...]:
    """One sentence for each command that names another revision than the one concerned.

    A command that was obeyed stays in the spec, and is no remark.
    """
    settings = view.settings
    underway = state.target if state.phase not in {Phase.STABLE, Phase.FAILED} else None
    failed = state.failed.revision if state.failed else None
    known = {underway, failed, view.serving}
    found = [
        f"spec.rollout.{command} names {revision}, which is not under way "
        f"({_present(underway, failed, view.serving)}): it has no effect."
        for command, revision in (("promote", settings.promote), ("abort", settings.abort))
        if revision is not None and revision not in known | set(state.history)
    ]
    if (
        settings.abort is not None
        and settings.abort == view.serving
        and settings.abort not in {underway, failed}
    ):
        found.append(
            f"spec.rollout.abort names {settings.abort}, whose rollout is complete: to go back, apply the "
            "spec from before."
        )
    if settings.retry is not None and settings.retry not in known | set(state.history):
        found.append(
            f"spec.rollout.retry names {settings.retry}, which was not given up "
            f"({_present(underway, failed, view.serving)}): it has no effect."
        )
    if settings.retry is not None and settings.retry == settings.abort == failed:
        found.append("spec.rollout.retry and abort name the same revision: remove abort.")
    elif state.failed is not None and settings.retry == failed:
        found.append(
            f"spec.rollout.retry has been obeyed and {failed} was given up again: edit the spec once more to "
            "repeat it."
        )
    return tuple(found)


def _present(underway: str | None, failed: str | None, serving: str | None) -> str:
    if underway:
        return f"{underway} is"
    if failed:
        return f"{failed} was given up"
    return f"{serving} serves" if serving else "nothing serves"
