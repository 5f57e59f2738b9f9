"""The admin APIs whose calls are known, from their documents.

`{name}` is the credential's name, by which ours are found again, `{id}` the issuer's identifier of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from moltbot_operator.api import HttpCall, HttpMethod, WebhookPreset

__all__ = ["ADMIN_APIS", "AdminApi", "Paging"]


@dataclass(frozen=True)
class Paging:
    """How a list goes on after its first page."""

    kind: Literal["cursor", "offset", "number"]
    """`cursor`: `last` of the answer is sent as the parameter while its `has_more` is true; `offset`: the
    number of entries so far, until a page is empty; `number`: of the page, up to `pages` of the answer."""
    parameter: str
    last: str = ""
    pages: str = ""


@dataclass(frozen=True)
class AdminApi:
    """The three calls; their URLs go after the base."""

    source: str
    """The product's documentation."""
    base: str | None
    """Public base URL; None: every installation has its own."""
    list: HttpCall
    create: HttpCall
    revoke: HttpCall
    paging: Paging
    permission: str
    """What the admin credential must be allowed to do."""
    project: bool = False
    """Whether the base URL has a `{project}`."""


def _call(method: HttpMethod, path: str, body: str | None = None, **paths: str) -> HttpCall:
    """Its URL is a path, which the type, made for whole URLs, does not take: hence without validation."""
    return HttpCall.model_construct(
        method=method,
        url=path,
        body=body,
        id_path=paths.get("id"),
        value_path=paths.get("value"),
        name_path=paths.get("name"),
    )


ADMIN_APIS: Final[Mapping[WebhookPreset, AdminApi]] = {
    # A project's API keys themselves can be listed and deleted, but not made by the API; a service account
    # can, and comes with its key, which goes when the account is deleted.
    WebhookPreset.OPENAI_ADMIN: AdminApi(
        source="https://platform.openai.com/docs/api-reference/project-service-accounts",
        base="https://api.openai.com/v1/organization/projects/{project}",
        list=_call(HttpMethod.GET, "/service_accounts?limit=100", id="$.data[*].id", name="$.data[*].name"),
        create=_call(
            HttpMethod.POST, "/service_accounts", '{"name": "{name}"}', id="$.id", value="$.api_key.value"
        ),
        revoke=_call(HttpMethod.DELETE, "/service_accounts/{id}"),
        paging=Paging("cursor", "after", last="$.last_id"),
        permission="an admin key (sk-admin-…) that may write the project's service accounts",
        project=True,
    ),
    WebhookPreset.OPENROUTER: AdminApi(
        source="https://openrouter.ai/docs/features/provisioning-api-keys",
        base="https://openrouter.ai/api/v1",
        list=_call(HttpMethod.GET, "/keys", id="$.data[*].hash", name="$.data[*].name"),
        create=_call(HttpMethod.POST, "/keys", '{"name": "{name}"}', id="$.data.hash", value="$.key"),
        revoke=_call(HttpMethod.DELETE, "/keys/{id}"),
        paging=Paging("offset", "offset"),
        permission="a provisioning (management) key",
    ),
    WebhookPreset.LITELLM: AdminApi(
        source="https://docs.litellm.ai/docs/proxy/virtual_keys",
        base=None,
        list=_call(
            HttpMethod.GET,
            "/key/list?return_full_object=true&size=100",
            id="$.keys[*].token",
            name="$.keys[*].key_alias",
        ),
        create=_call(
            HttpMethod.POST, "/key/generate", '{"key_alias": "{name}"}', id="$.token_id", value="$.key"
        ),
        revoke=_call(HttpMethod.POST, "/key/delete", '{"keys": ["{id}"]}'),
        paging=Paging("number", "page", pages="$.total_pages"),
        permission="the master key, or a key of a proxy admin",
    ),
}
"""By preset."""
