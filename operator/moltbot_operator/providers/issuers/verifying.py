"""Trying a credential as gateways will use it: a model list, a token, or a model list with a signed token.

The call is the provider's own (api/presets.py), with the backend's address and its CA.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from moltbot_agent.config import FetchedToken, SignedToken
from moltbot_agent.oauth2 import Refused as NoToken
from moltbot_agent.oauth2 import grant, token_request
from moltbot_agent.signing import sign, signing_key
from moltbot_agent.sources import Unusable
from moltbot_operator.api import JWTAuth, ModelBackendSpec, OAuth2Auth
from moltbot_operator.api.endpoint import credential_header, resolve_endpoint
from moltbot_operator.api.presets import MODEL, PRESETS
from moltbot_operator.constants import SYSTEM_CA
from moltbot_operator.errors import NothingHappened, Refused
from moltbot_operator.providers.issuers.calls import Answer, Caller, Request, checked
from moltbot_operator.providers.issuers.clients import client_of
from moltbot_operator.rotation import Credential

__all__ = ["PAUSES_S", "Verifier"]

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Between tries of a credential that is refused: providers take a new one only after it has spread among
their own servers."""

_UNAUTHORIZED: Final = frozenset({400, 401, 403})


@dataclass(frozen=True)
class Verifier:
    """Tries credentials of one backend."""

    spec: ModelBackendSpec
    namespace: str
    backend: Caller
    """Trusts what the gateways trust for the backend."""
    endpoint: Caller
    """Trusts what the gateways trust for the token endpoint."""
    pauses_s: tuple[float, ...] = PAUSES_S
    clock: Callable[[], float] = time.time
    """Seconds since the epoch, for the claims of tokens."""

    async def verify(self, credential: Credential) -> None:
        """Returns if it is taken. Refused if not, also after pauses; NothingHappened if nobody can tell."""
        for pause in (*self.pauses_s, None):
            try:
                return await self._try(credential)
            except Refused:
                if pause is None:
                    raise
            await asyncio.sleep(pause)
        return None

    async def _try(self, credential: Credential) -> None:
        auth = self.spec.auth
        if auth.oauth2 is not None:
            await self.token(auth.oauth2, credential)
        elif auth.jwt is not None:
            token = await asyncio.to_thread(_signed, auth.jwt, credential.value, self.clock())
            await self._health({"authorization": f"Bearer {token}"})
        else:
            sent, health = credential_header(self.spec), PRESETS[self.spec.provider].health
            if health.header is not None:
                await self._health({health.header: credential.value})
            else:
                await self._health({sent.name: f"{sent.prefix}{credential.value}"})

    async def token(self, oauth2: OAuth2Auth, credential: Credential) -> str:
        """A token for the client. Refused: the endpoint does not know the client or its secret."""
        client_id, secret = client_of(oauth2, credential.value)
        wanted = FetchedToken(
            url=oauth2.token_url,
            client_id=client_id,
            authentication=oauth2.client_authentication.value,
            scopes=oauth2.scopes,
            audience=oauth2.audience,
            ca=Path(SYSTEM_CA),  # not used: the caller has its own trust
        )
        made = token_request(wanted, secret)
        request = Request("POST", oauth2.token_url, made.headers, made.body)
        answer = await self.endpoint.call(request, effect=False)
        if answer.status not in _UNAUTHORIZED:
            checked(request, answer, effect=False)
        try:
            return grant(answer.status, answer.headers, answer.body).token
        except NoToken as error:
            raise Refused(f"token endpoint {oauth2.token_url} {error}") from None

    async def _health(self, credential: dict[str, str]) -> None:
        health = PRESETS[self.spec.provider].health
        where = resolve_endpoint(self.spec, self.namespace)
        headers = {**health.headers, **credential, "accept": "application/json"}
        body = None
        if health.body is not None:
            body = orjson.dumps({k: self._model() if v == MODEL else v for k, v in health.body.items()})
            headers["content-type"] = "application/json"
        request = Request(health.method, f"{where.url}{health.path}", headers, body, where.sni)
        answer = await self.backend.call(request, effect=False)
        if answer.status in health.healthy:
            return
        if answer.status in health.refused:
            raise Refused(f"the backend refuses the credential: {request.what} answered {answer.status}")
        _inconclusive(request, answer)

    def _model(self) -> str:
        if self.spec.model is None:
            raise Refused(
                f"a key of {self.spec.provider} can be tried only by a completion, which needs a model: "
                "write spec.model"
            )
        return self.spec.model


def _inconclusive(request: Request, answer: Answer) -> None:
    """An answer that says nothing of the credential: to be asked again, at last by a person."""
    try:
        checked(request, answer, effect=False)
    except Refused as error:
        raise NothingHappened(f"{error}, which does not tell whether the credential is taken") from None
    raise NothingHappened(f"{request.what} answered {answer.status}, which is not what it should")


def _signed(jwt: JWTAuth, pem: str, now: float) -> str:
    wanted = SignedToken(
        issuer=jwt.issuer,
        subject=jwt.subject,
        audience=jwt.audience,
        algorithm=jwt.algorithm.value,
        ttl_s=jwt.ttl.total_seconds(),
    )
    try:
        return sign(signing_key(pem, wanted.algorithm), wanted, now)[0]
    except Unusable as error:
        raise Refused(f"the signing key {error}") from None
