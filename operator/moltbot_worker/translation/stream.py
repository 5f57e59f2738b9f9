"""What both translations of a stream have in common: it is whole, or ends with an error."""

from abc import ABC, abstractmethod

from moltbot_worker.sse import Event, Events

__all__ = ["Stream"]


class Stream(ABC):
    """The backend's parts come in by `feed`, then `close`; both give what the client is to get."""

    def __init__(self) -> None:
        self._events = Events()
        self.ended = False
        """Whether nothing can follow."""

    def feed(self, part: bytes) -> bytes:
        """What a part of the stream means."""
        if self.ended:
            return b""
        made: list[bytes] = []
        try:
            for event in self._events.feed(part):
                self._event(event, made)
                if self.ended:
                    break
        except (ValueError, KeyError, TypeError, AttributeError):  # AnswerUnreadable too
            made.append(self._failed("The stream of the backend is broken."))
        return b"".join(made)

    def close(self) -> bytes:
        """The stream is over: the end, if the answer is whole, or an error."""
        if self.ended:
            return b""
        if self._whole():
            return self._end()
        return self._failed("The stream of the backend ended before its end.")

    @abstractmethod
    def _event(self, event: Event, made: list[bytes]) -> None:
        """Add what it means to `made`; what a stream may hold by mistake raises one of the errors above."""

    @abstractmethod
    def _whole(self) -> bool:
        """Whether nothing of the answer is missing."""

    @abstractmethod
    def _end(self) -> bytes:
        """Say that it is whole; nothing follows."""

    @abstractmethod
    def _failed(self, message: str) -> bytes:
        """Say that it is not; nothing follows."""
