"""Keys by an admin API: list, create, revoke by templated HTTP calls, and what is read from their answers.

Only credentials whose names begin with the owner's tag are ever told of, and so revoked: other keys of the
same account are never touched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from moltbot_operator.api import HttpCall
from moltbot_operator.errors import NothingHappened, NotOurs, Refused, Unclear
from moltbot_operator.providers.issuers.admin_apis import Paging
from moltbot_operator.providers.issuers.calls import Answer, Caller, Request, checked
from moltbot_operator.providers.issuers.paths import one, pairs
from moltbot_operator.providers.issuers.templates import fill_body, fill_url, version_of
from moltbot_operator.providers.issuers.verifying import Verifier
from moltbot_operator.rotation import Credential, Found

__all__ = ["AdminCalls", "Webhook"]

MOST_PAGES: Final = 100
"""Of a list; a hundred entries each is usual."""

_VALUE: Final = re.compile(r"[\x21-\x7e]{1,16384}")
"""A key is sent in a header."""

_GONE: Final = frozenset({404, 410})
_HINT: Final = "check the admin credential in rotation.issuer.webhook.secretRef and what it may do"


@dataclass(frozen=True)
class AdminCalls:
    """The calls of one backend's issuer, with whole URLs."""

    list: HttpCall
    create: HttpCall
    revoke: HttpCall
    headers: Mapping[str, str] = field(repr=False)
    """With the admin credential."""
    paging: Paging | None = None


class Webhook:
    """One backend's admin API."""

    lists = True

    def __init__(self, calls: AdminCalls, caller: Caller, verifier: Verifier) -> None:
        self._calls = calls
        self._caller = caller
        self._verifier = verifier

    async def find(self, prefix: str) -> tuple[Found, ...]:
        """All keys whose name begins with `prefix`, of every page."""
        found: dict[str, Found] = {}
        document, pages, count = None, 0, 0
        while pages == 0 or (more := self._more(document, pages, count)) is not None:
            if pages >= MOST_PAGES:
                raise Refused(f"{self._calls.list.url.partition('?')[0]} lists more than {pages} pages")
            request = self._request(self._calls.list, {"name": prefix}, {} if pages == 0 else more)
            answer = checked(
                request, await self._caller.call(request, effect=False), effect=False, hint=_HINT
            )
            document = answer.document
            if not isinstance(document, dict | list):
                raise NothingHappened(f"{request.what} answered with something that is no JSON")
            entries = pairs(self._calls.list.id_path or "", self._calls.list.name_path or "", document)
            for name, identifier in entries:
                if not name.startswith(prefix):
                    continue
                if identifier is None:
                    raise Refused(f"{request.what} lists {name} without an identifier at idPath")
                found[identifier] = Found(identifier, name)
            pages, count = pages + 1, count + len(entries)
            if not entries:
                break
        return tuple(found.values())

    async def create(self, tag: str) -> Credential:
        """A new key with this name."""
        call = self._calls.create
        request = self._request(call, {"name": tag, "rotation": version_of(tag)})
        answer = checked(request, await self._caller.call(request, effect=True), effect=True, hint=_HINT)
        identifier = self._read(request, answer, call.id_path, "an identifier at idPath")
        value = self._read(request, answer, call.value_path, "a key at valuePath")
        if not _VALUE.fullmatch(value):
            raise Unclear(f"{request.what} answered with a key that a header can't carry: check valuePath")
        return Credential(id=identifier, tag=tag, value=value)

    async def verify(self, credential: Credential) -> None:
        """Use it at the backend."""
        await self._verifier.verify(credential)

    async def revoke(self, known: Found | Credential) -> None:
        """Until the issuer says that it is gone."""
        if not known.id:
            raise NotOurs("the issuer's identifier of this key is not known: revoke it at the issuer by hand")
        values = {"id": known.id, "name": known.tag, "rotation": version_of(known.tag)}
        request = self._request(self._calls.revoke, values)
        answer = await self._caller.call(request, effect=True)
        if answer.status not in _GONE:
            checked(request, answer, effect=True, hint=_HINT)

    def _request(
        self, call: HttpCall, values: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> Request:
        url = fill_url(call.url, values)
        if query:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
        headers = dict(self._calls.headers)
        body = None if call.body is None else fill_body(call.body, values)
        if body is not None:
            headers["content-type"] = "application/json"
        return Request(call.method.value, url, headers, body)

    def _more(self, document: Any, pages: int, count: int) -> dict[str, str] | None:
        """Parameters of the next page; None after the last one."""
        paging = self._calls.paging
        if paging is None:
            return None
        match paging.kind:
            case "cursor":
                last = one(paging.last, document)
                going_on = isinstance(document, dict) and document.get("has_more") is True
                return {paging.parameter: last} if going_on and last else None
            case "offset":
                return {paging.parameter: str(count)}
            case "number":
                total = one(paging.pages, document)
                last_page = int(total) if total and total.isdigit() else 0
                return {paging.parameter: str(pages + 1)} if pages < last_page else None

    @staticmethod
    def _read(request: Request, answer: Answer, path: str | None, what: str) -> str:
        """A value of the answer to `create`, which was 2xx: without it nobody knows what was made."""
        value = one(path or "", answer.document)
        if value is None:
            raise Unclear(f"{request.what} answered {answer.status} without {what}")
        return value
