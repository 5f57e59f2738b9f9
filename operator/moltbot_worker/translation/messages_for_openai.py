"""Messages of Anthropic's API as OpenAI has them.

Results of tools become messages of their own, before what else the user's message says: OpenAI wants them
right after the calls. Thoughts of the model are left out: only the model that had them can read them.
"""

from typing import Any, Final

import orjson

from moltbot_worker.translation.terms import (
    Json,
    Untranslatable,
    only,
    read,
    read_list,
    read_object,
    read_text,
)

__all__ = ["system_text", "turns"]

_API: Final = "OpenAI"
_ROLES: Final = frozenset({"user", "assistant", "system"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


def turns(document: Json, without: list[str]) -> list[Json]:
    """The messages of a request, without its system prompt. Raises Untranslatable."""
    made: list[Json] = []
    for where, given in read_list(document, "messages"):
        role = given.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise Untranslatable(f"{where}role", "roles are user, assistant and system", "write one of these")
        only(given, frozenset({"role", "content"}), where, _API)
        if isinstance(given.get("content"), str):
            made.append({"role": role, "content": given["content"]})
            continue
        blocks = read_list(given, "content", where)
        match role:
            case "user":
                made += _user(blocks, without)
            case "assistant":
                made += _assistant(blocks)
            case _:
                made.append({"role": "system", "content": _joined(blocks)})
    return made


def system_text(document: Json) -> str:
    """The system prompt, empty if there is none."""
    if isinstance(document.get("system"), str):
        return str(document["system"])
    return _joined(read_list(document, "system"))


def _joined(blocks: list[tuple[str, Json]]) -> str:
    for where, block in blocks:
        if block.get("type") != "text":
            raise Untranslatable(f"{where}type", "OpenAI's API takes text here", "write text")
    return "\n\n".join(read_text(block, "text", where) for where, block in blocks)


def _user(blocks: list[tuple[str, Json]], without: list[str]) -> list[Json]:
    results: list[Json] = []
    parts: list[Json] = []
    for where, block in blocks:
        match block.get("type"):
            case "tool_result":
                results.append(_result(block, where, without))
            case "text":
                parts.append({"type": "text", "text": read_text(block, "text", where)})
            case "image":
                parts.append(_image(read_object(block, "source", where), f"{where}source."))
            case "document":
                parts.append(_document(block, where))
            case _:
                raise Untranslatable(
                    f"{where}type",
                    "OpenAI's API takes text, image, document and tool_result",
                    "write one of these",
                )
    if not parts:
        return results
    plain = len(parts) == 1 and parts[0]["type"] == "text"
    return [*results, {"role": "user", "content": parts[0]["text"] if plain else parts}]


def _result(block: Json, where: str, without: list[str]) -> Json:
    if block.get("is_error"):
        without.append(f"{where}is_error")
    content = block.get("content")
    text = content if isinstance(content, str) else _joined(read_list(block, "content", where))
    return {"role": "tool", "tool_call_id": read_text(block, "tool_use_id", where), "content": text}


def _image(source: Json, where: str) -> Json:
    match source.get("type"):
        case "url":
            url = read_text(source, "url", where)
        case "base64":
            url = f"data:{read_text(source, 'media_type', where)};base64,{read_text(source, 'data', where)}"
        case _:
            raise Untranslatable(f"{where}type", "OpenAI's API takes url and base64", "write one of these")
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Json, where: str) -> Json:
    source, place = read_object(block, "source", where), f"{where}source."
    citations = read(block, "citations", dict, where)
    if citations and citations.get("enabled"):
        raise Untranslatable(f"{where}citations", "OpenAI's API gives none", "leave them out")
    title = read(block, "title", str, where)
    context = read(block, "context", str, where)
    match source.get("type"):
        case "text":
            said = [each for each in (title, context, read_text(source, "data", place)) if each]
            return {"type": "text", "text": "\n\n".join(said)}
        case "base64" if context is None:
            data = f"data:{read_text(source, 'media_type', place)};base64,{read_text(source, 'data', place)}"
            return {"type": "file", "file": {"filename": title or "document.pdf", "file_data": data}}
        case "base64":
            raise Untranslatable(
                f"{where}context", "OpenAI's API takes none with a file", "write it as a text"
            )
    raise Untranslatable(f"{place}type", "OpenAI's API takes text and base64", "write one of these")


def _assistant(blocks: list[tuple[str, Json]]) -> list[Json]:
    texts: list[str] = []
    calls: list[Json] = []
    for where, block in blocks:
        match block.get("type"):
            case "text":
                texts.append(read_text(block, "text", where))
            case "tool_use":
                calls.append(_call(block, where))
            case kind if isinstance(kind, str) and kind in _THOUGHTS:
                pass
            case _:
                raise Untranslatable(
                    f"{where}type",
                    "OpenAI's API takes text and tool_use",
                    "leave what Anthropic's tools made out",
                )
    if not texts and not calls:
        return []
    made: Json = {"role": "assistant", "content": "".join(texts) if texts else None}
    if calls:
        made["tool_calls"] = calls
    return [made]


def _call(block: Json, where: str) -> dict[str, Any]:
    arguments = orjson.dumps(read(block, "input", dict, where) or {}).decode()
    function = {"name": read_text(block, "name", where), "arguments": arguments}
    return {"id": read_text(block, "id", where), "type": "function", "function": function}
