"""Uploads: bodies of type multipart/form-data (RFC 7578)."""

import re
from dataclasses import dataclass

from moltbot_provider.reply import Refused

__all__ = ["Field", "form"]


@dataclass(frozen=True)
class Field:
    """One part; `filename` None for a plain value."""

    value: bytes
    filename: str | None = None

    @property
    def text(self) -> str:
        """The value as text."""
        return self.value.decode()


def form(content_type: str, body: bytes) -> dict[str, Field]:
    """The parts by name, `[]` at the end of a name left out; Refused for what is no form."""
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if boundary is None or not content_type.lower().startswith("multipart/form-data"):
        raise Refused(400, "this operation takes multipart/form-data")
    mark = b"--" + boundary[1].encode()
    *parts, end = body.split(mark)[1:] or [b""]
    if not end.startswith(b"--"):
        raise Refused(400, "the form does not end with its boundary")
    fields = {}
    for part in parts:
        head, separator, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'[ ;]name="([^"]*)"', head)
        if not separator or name is None or not value.endswith(b"\r\n"):
            raise Refused(400, "a part of the form has no name or no end")
        filename = re.search(rb'filename="([^"]*)"', head)
        fields[name[1].decode().removesuffix("[]")] = Field(
            value[:-2], filename[1].decode() if filename else None
        )
    return fields
