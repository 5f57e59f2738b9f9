"""The forms of the admin APIs: what each answers, from its product's documents.

=============  ==========================================================================================
`openai`       `/v1/organization/projects/{project}/service_accounts`; pages by `after`, `has_more`, `last_id`
`openrouter`   `/api/v1/keys`; pages of a fixed size by `offset`
`litellm`      `/key/generate`, `/key/list` (pages by number), `/key/delete`; an alias is unique
`generic`      `/keys`; no pages; `DELETE /keys/{id}`
=============  ==========================================================================================

Sources: platform.openai.com/docs/api-reference/project-service-accounts (a project's API keys themselves can
be listed and deleted, but not made by the API), openrouter.ai/docs/features/provisioning-api-keys,
docs.litellm.ai/docs/proxy/virtual_keys and its /key/list, /key/delete.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from moltbot_issuer.keys import Key, Keys

__all__ = ["FORMS", "Answer", "Form"]


@dataclass
class Answer:
    """Status and document."""

    status: int
    document: Any


Do = Callable[[Keys, web.Request, Any, int], Answer]
Form = Mapping[tuple[str, str], tuple[str, Do]]
"""(method, path) → operation and what does it; its last argument is the size of a page."""

_NOT_FOUND = {"error": {"message": "no such key", "type": "not_found", "code": 404}}


def _number(request: web.Request, name: str, default: int) -> int:
    value = request.query.get(name, "")
    return int(value) if value.isdigit() else default


def _revoked(keys: Keys, identifier: str, document: Any) -> Answer:
    key = keys.find(identifier)
    if key is None:
        return Answer(404, _NOT_FOUND)
    keys.revoke(key)
    return Answer(200, document)


def _account(key: Key) -> dict[str, Any]:
    kind = "organization.project.service_account"
    return {"object": kind, "id": f"user-{key.id}", "name": key.name}


def _openai_list(keys: Keys, request: web.Request, _body: Any, page: int) -> Answer:
    limit = min(_number(request, "limit", 20), page)
    found = [_account(key) for key in keys.valid()]
    after = request.query.get("after")
    start = next((n + 1 for n, each in enumerate(found) if each["id"] == after), 0) if after else 0
    data = found[start : start + limit]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return Answer(200, {"object": "list", "data": data, "has_more": start + limit < len(found), **ends})


def _openai_create(keys: Keys, _request: web.Request, body: Any, _page: int) -> Answer:
    key = keys.make(body["name"])
    made = {
        "object": "organization.project.service_account.api_key",
        "value": key.value,
        "name": "Secret Key",
    }
    return Answer(200, {**_account(key), "api_key": {**made, "created_at": int(key.made), "id": key.id}})


def _openai_revoke(keys: Keys, request: web.Request, _body: Any, _page: int) -> Answer:
    identifier = request.match_info["id"]
    document = {"object": "organization.project.service_account.deleted", "id": identifier, "deleted": True}
    return _revoked(keys, identifier.removeprefix("user-"), document)


def _router_key(key: Key) -> dict[str, Any]:
    label = f"{key.value[:8]}...{key.value[-3:]}"
    return {"hash": key.hash, "name": key.name, "label": label, "disabled": False, "limit": None, "usage": 0}


def _openrouter_list(keys: Keys, request: web.Request, _body: Any, page: int) -> Answer:
    offset = _number(request, "offset", 0)
    newest = [_router_key(key) for key in reversed(keys.valid())]
    return Answer(200, {"data": newest[offset : offset + page]})


def _openrouter_create(keys: Keys, _request: web.Request, body: Any, _page: int) -> Answer:
    key = keys.make(body["name"])
    return Answer(201, {"data": _router_key(key), "key": key.value})


def _openrouter_revoke(keys: Keys, request: web.Request, _body: Any, _page: int) -> Answer:
    return _revoked(keys, request.match_info["id"], {"deleted": True})


def _litellm_list(keys: Keys, request: web.Request, _body: Any, page: int) -> Answer:
    size, number = min(_number(request, "size", 10), page), _number(request, "page", 1)
    wanted = request.query.get("key_alias")
    found = [key for key in keys.valid() if wanted in {None, key.name}]
    shown = found[(number - 1) * size : number * size]
    full = request.query.get("return_full_object", "").lower() == "true"
    listed = [{"token": key.hash, "key_alias": key.name} if full else key.hash for key in shown]
    pages = -(-len(found) // size)
    return Answer(
        200, {"keys": listed, "total_count": len(found), "current_page": number, "total_pages": pages}
    )


def _litellm_create(keys: Keys, _request: web.Request, body: Any, _page: int) -> Answer:
    name = body["key_alias"]
    if any(key.name == name for key in keys.valid()):
        message = f"Key with alias '{name}' already exists."
        return Answer(400, {"error": {"message": message, "type": "bad_request_error", "code": "400"}})
    key = keys.make(name)
    return Answer(200, {"key": key.value, "token": key.hash, "token_id": key.hash, "key_alias": name})


def _litellm_revoke(keys: Keys, _request: web.Request, body: Any, _page: int) -> Answer:
    [identifier] = body["keys"]
    return _revoked(keys, identifier, {"deleted_keys": body["keys"]})


def _generic_list(keys: Keys, _request: web.Request, _body: Any, _page: int) -> Answer:
    return Answer(200, {"items": [{"id": key.id, "label": key.name} for key in keys.valid()]})


def _generic_create(keys: Keys, _request: web.Request, body: Any, _page: int) -> Answer:
    key = keys.make(body["label"])
    return Answer(201, {"id": key.id, "label": key.name, "secret": {"value": key.value}})


def _generic_revoke(keys: Keys, request: web.Request, _body: Any, _page: int) -> Answer:
    return _revoked(keys, request.match_info["id"], {})


_ACCOUNTS = "/v1/organization/projects/{project}/service_accounts"

FORMS: Mapping[str, Form] = {
    "openai": {
        ("GET", _ACCOUNTS): ("list", _openai_list),
        ("POST", _ACCOUNTS): ("create", _openai_create),
        ("DELETE", _ACCOUNTS + "/{id}"): ("revoke", _openai_revoke),
    },
    "openrouter": {
        ("GET", "/api/v1/keys"): ("list", _openrouter_list),
        ("POST", "/api/v1/keys"): ("create", _openrouter_create),
        ("DELETE", "/api/v1/keys/{id}"): ("revoke", _openrouter_revoke),
    },
    "litellm": {
        ("GET", "/key/list"): ("list", _litellm_list),
        ("POST", "/key/generate"): ("create", _litellm_create),
        ("POST", "/key/delete"): ("revoke", _litellm_revoke),
    },
    "generic": {
        ("GET", "/keys"): ("list", _generic_list),
        ("POST", "/keys"): ("create", _generic_create),
        ("DELETE", "/keys/{id}"): ("revoke", _generic_revoke),
    },
}
"""By name."""
