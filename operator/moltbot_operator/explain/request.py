"""A request that is asked about."""

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Request", "chat_body"]


@dataclass(frozen=True)
class Request:
    """One request. `headers` by name in lower case; `body` None: without one."""

    path: str = "/v1/chat/completions"
    """With its query; as Envoy reads it: escaped slashes unescaped, segments of dots resolved."""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    consumer: str | None = None
    """Whose key or token comes with it; None: none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", {name.lower(): value for name, value in self.headers.items()})
        object.__setattr__(self, "path", _normal(self.path))

    @property
    def bare(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]


def chat_body(model: str | None = None) -> str:
    """A short dialog."""
    named = {} if model is None else {"model": model}
    return json.dumps({**named, "messages": [{"role": "user", "content": "hi"}]})


def _normal(path: str) -> str:
    bare, mark, query = path.partition("?")
    bare = re.sub(r"%2f|%5c|\\", "/", bare, flags=re.IGNORECASE)
    if re.search(r"/\.{1,2}(?:/|$)", bare):
        slash = "/" if re.search(r"/\.{0,2}$", bare) else ""
        bare = posixpath.normpath(bare).rstrip("/") + slash or "/"
    return bare + mark + query
