"""What a provider keeps between requests: files, batches and responses. Only it knows their ids."""

from collections.abc import Mapping
from typing import Any

from moltbot_provider.answers import CREATED
from moltbot_provider.forms import Field
from moltbot_provider.reply import Refused, Reply

__all__ = ["Stored"]


class Stored:
    """The objects of one provider, by id."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.responses: dict[str, dict[str, Any]] = {}

    def upload(self, fields: Mapping[str, Field]) -> Reply:
        """`POST /files`."""
        if "file" not in fields or "purpose" not in fields:
            raise Refused(400, "an upload needs the fields file and purpose", None, "file")
        file = fields["file"]
        made = {
            "id": f"file-{self.name}-{len(self.files) + 1}",
            "object": "file",
            "bytes": len(file.value),
            "created_at": CREATED,
            "filename": file.filename or "",
            "purpose": fields["purpose"].text,
            "status": "processed",
        }
        self.files[made["id"]] = (made, file.value)
        return Reply(made)

    def file(self, method: str, rest: list[str]) -> Reply:
        """`GET /files`, and one file, its content, or its deletion."""
        if not rest:
            return Reply(_listed([made for made, _ in self.files.values()]))
        made, content = self._found(self.files, rest[0], "file")
        if method == "DELETE":
            del self.files[rest[0]]
            return Reply({"id": rest[0], "object": "file", "deleted": True})
        if rest[1:] == ["content"]:
            return Reply(content, content_type="application/octet-stream")
        return Reply(made)

    def create_batch(self, request: Mapping[str, Any]) -> Reply:
        """`POST /batches`: its file must be here."""
        self._found(self.files, str(request.get("input_file_id")), "file")
        made = {
            "id": f"batch_{self.name}_{len(self.batches) + 1}",
            "object": "batch",
            "endpoint": request.get("endpoint"),
            "input_file_id": request["input_file_id"],
            "completion_window": request.get("completion_window"),
            "status": "validating",
            "created_at": CREATED,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.batches[made["id"]] = made
        return Reply(made)

    def batch(self, rest: list[str]) -> Reply:
        """`GET /batches`, one batch, or `POST /batches/{id}/cancel`."""
        if not rest:
            return Reply(_listed(list(self.batches.values())))
        made = self._found(self.batches, rest[0], "batch")
        if rest[1:] == ["cancel"]:
            made["status"] = "cancelling"
        return Reply(made)

    def response(self, method: str, rest: list[str]) -> Reply:
        """One stored response, its input items, or its deletion."""
        made = self.known_response(rest[0])
        if method == "DELETE":
            del self.responses[rest[0]]
            return Reply({"id": rest[0], "object": "response", "deleted": True})
        if rest[1:] == ["input_items"]:
            return Reply(_listed([]))
        return Reply(made)

    def known_response(self, key: str) -> dict[str, Any]:
        """The stored response; Refused if another provider made it."""
        return self._found(self.responses, key, "response")

    def _found(self, kept: Mapping[str, Any], key: str, what: str) -> Any:
        if key not in kept:
            raise Refused(404, f"{self.name}: no such {what}: {key}", None, "id")
        return kept[key]


def _listed(data: list[dict[str, Any]]) -> dict[str, Any]:
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last}
