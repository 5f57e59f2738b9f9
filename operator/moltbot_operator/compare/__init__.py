"""What a change of the files changes for requests. Pure: compares two intermediate forms of one route."""

from moltbot_operator.compare.changes import Change, changes
from moltbot_operator.compare.requests import Moved, Outcome, moved

__all__ = ["Change", "Moved", "Outcome", "changes", "moved"]
