"""Images, audio and moderations."""

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from moltbot_provider.answers import CREATED
from moltbot_provider.forms import Field
from moltbot_provider.reply import Refused

__all__ = ["images", "moderations", "png", "speech", "transcription"]


def png(shade: int) -> bytes:
    """A grey image of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes([0, shade]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def images(name: str, prompt: str, count: int) -> dict[str, Any]:
    """`POST /images/generations` and `/images/edits`; the revised prompt names the server."""
    data = [
        {"b64_json": base64.b64encode(png(shade)).decode(), "revised_prompt": f"server={name} {prompt}"}
        for shade in range(count)
    ]
    return {"created": CREATED, "data": data}


def speech(name: str, request: Mapping[str, Any]) -> bytes:
    """`POST /audio/speech`: bytes of every value, with the server's name and the text in them."""
    return f"{name}:{request.get('input', '')}:".encode() + bytes(range(256)) * 64


def transcription(name: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """`POST /audio/transcriptions` and `/audio/translations`; says which model and how many bytes came."""
    if "file" not in fields or "model" not in fields:
        raise Refused(400, "a transcription needs the fields file and model", None, "file")
    return {
        "text": f"server={name} model={fields['model'].text} bytes={len(fields['file'].value)}",
        "usage": {"type": "duration", "seconds": 1},
    }


def moderations(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """`POST /moderations`: what holds "harm" is flagged."""
    given = request.get("input", "")
    texts = given if isinstance(given, list) else [given]
    results = [
        {
            "flagged": "harm" in str(text),
            "categories": {"violence": "harm" in str(text)},
            "category_scores": {"violence": 0.9 if "harm" in str(text) else 0.1},
            "category_applied_input_types": {"violence": ["text"]},
        }
        for text in texts
    ]
    return {"id": f"modr-{name}", "model": str(request.get("model", name)), "results": results}
