"""From mounted JWKS to the filter that verifies consumers' tokens.

A JWKS that turned unusable is taken away: a key that was removed must not open the door any longer. One that
can't be read just now stays as it was.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from moltbot_agent.config import IssuerKeys, Verifier
from moltbot_agent.jwks import LARGEST_JWKS, usable_jwks
from moltbot_agent.sources import Unusable, file_signature

__all__ = ["VerifierDelivery", "verifier_resource"]

_EXTENSION_TYPE: Final = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"


def verifier_resource(tokens: Verifier) -> tuple[bytes, list[str]]:
    """The ECDS file with every usable key, and what is wrong with the others. Raises OSError."""
    filter_config = copy.deepcopy(tokens.template)
    problems: list[str] = []
    for entry in tokens.keys:
        at = f"consumer {entry.consumer}: JWKS {entry.source}"
        try:
            found, flaws = usable_jwks(_read(entry))
        except Unusable as error:
            problems.append(f"{at} {error}")
        else:
            problems += [f"{at}: {flaw}" for flaw in flaws]
            provider = filter_config["providers"][entry.provider]
            del provider["remote_jwks"]
            provider["local_jwks"] = {"inline_string": found}
    resource = {"@type": _EXTENSION_TYPE, "name": tokens.resource, "typed_config": filter_config}
    return orjson.dumps({"resources": [resource]}, option=orjson.OPT_SORT_KEYS), problems


def _read(entry: IssuerKeys) -> bytes:
    try:
        with entry.source.open("rb") as stream:
            return stream.read(LARGEST_JWKS + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("does not exist; create the ConfigMap with this key") from None
    except IsADirectoryError:
        raise Unusable("is a folder, not a key of a ConfigMap") from None


class VerifierDelivery:
    """The filter's file, written again whenever a JWKS changed."""

    def __init__(self, tokens: Verifier, write: Callable[[Path, bytes], bool]) -> None:
        self._tokens = tokens
        self._write = write
        self._seen: tuple[object, ...] | None = None
        self.problems: list[str] = []
        """What keeps tokens from being verified; never a key."""

    @property
    def target(self) -> Path:
        """The file that Envoy watches."""
        return self._tokens.target

    def run_once(self) -> None:
        """Carry out what changed since the last time."""
        now = self._signatures()
        if now == self._seen:
            return
        self._seen = None
        try:
            content, problems = verifier_resource(self._tokens)
        except OSError as error:
            self.problems = [
                f"JWKS {error.filename} can't be read: {error.strerror}; the last keys stay valid"
            ]
            if not self._tokens.target.exists():  # Envoy must start for the others
                without = self._tokens.model_copy(update={"keys": ()})
                self._write(self._tokens.target, verifier_resource(without)[0])
            return
        if self._signatures() != now:
            return  # swapped while it was read: look again the next time
        self.problems = problems
        self._seen = now if self._write(self._tokens.target, content) else None

    def _signatures(self) -> tuple[object, ...]:
        return tuple(file_signature(entry.source) for entry in self._tokens.keys)
