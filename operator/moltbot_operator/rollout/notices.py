"""Notifications: which are to be delivered, and which have been.

What is to be delivered is part of the state, so a crash loses none. Each place in `notifications` gets its
events one after the other, in their order.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from moltbot_operator.api import Notification, NotificationEvent
from moltbot_operator.rollout.state import MOST_PENDING, Pending, State
from moltbot_operator.rollout.view import Delivered, Note, Notify, Trouble, View

__all__ = ["delivered", "noted", "notifications"]


def delivered(state: State, view: View) -> tuple[State, list[Note]]:
    """The state without what arrived, or can't; the latter gives a note.

    A spec that can't be read tells nothing of whom to tell: everything waits.
    """
    if view.desired is None:
        return state, []
    notes: list[Note] = []
    pending = []
    for each in state.pending:
        done = set(each.sent)
        for index, _ in _concerned(each.event, view):
            match view.results.get(_id(each, index)):
                case Delivered():
                    done.add(index)
                case Trouble(message):
                    done.add(index)
                    text = f"notifications[{index}] could not be told of {each.event}: {message}"
                    notes.append(Note("Warning", "NotificationFailed", text))
        if {index for index, _ in _concerned(each.event, view)} - done:
            pending.append(replace(each, sent=tuple(sorted(done))))
    return replace(state, pending=tuple(pending)), notes


def noted(state: State, notes: Sequence[Note], view: View, now: datetime) -> State:
    """The state with the notifications that these notes ask for."""
    revision = state.target or (state.failed.revision if state.failed else None) or view.serving or ""
    before = state.rollback_to or next(iter(state.history), None)
    previous = view.serving if view.serving != revision else before
    previous = None if previous == revision else previous
    added = [
        Pending(
            f"{view.generation}/{revision}/{note.event}/{now:%Y%m%dT%H%M%SZ}",
            note.event,
            revision,
            previous,
            note.message[:1024],
            now,
        )
        for note in notes
        if note.event is not None and any(_concerned(note.event, view))
    ]
    return replace(state, pending=(*state.pending, *added)[-MOST_PENDING:])


def notifications(state: State, view: View) -> tuple[Notify, ...]:
    """What should be under way: the oldest one for each place."""
    found: dict[int, Notify] = {}
    for each in state.pending:
        for index, _ in _concerned(each.event, view):
            if index not in each.sent and index not in found:
                found[index] = Notify(_id(each, index), each, index)
    return tuple(found.values())


def _concerned(event: NotificationEvent, view: View) -> list[tuple[int, Notification]]:
    return [
        (index, notification)
        for index, notification in enumerate(view.settings.notifications)
        if not notification.events or event in notification.events
    ]


def _id(pending: Pending, index: int) -> str:
    return f"notify/{pending.id}/{index}"
