"""Opening a backend's issuer: what its spec refers to is read, and becomes the calls to make."""

import asyncio
import functools
import ssl
import time
from datetime import timedelta
from pathlib import Path

from moltbot_agent.trust import trusting
from moltbot_operator.api import (
    DynamicRegistration,
    HttpCall,
    IssuerType,
    ModelBackendSpec,
    WebhookIssuer,
    WebhookPreset,
)
from moltbot_operator.constants import SYSTEM_CA
from moltbot_operator.errors import InvalidInput
from moltbot_operator.providers.issuers.admin_apis import ADMIN_APIS
from moltbot_operator.providers.issuers.calls import TIMEOUT, Caller
from moltbot_operator.providers.issuers.hosts import Hosts
from moltbot_operator.providers.issuers.own_keys import ExternalSecret, SigningKeys
from moltbot_operator.providers.issuers.registration import Registration
from moltbot_operator.providers.issuers.verifying import PAUSES_S, Verifier
from moltbot_operator.providers.issuers.webhook import AdminCalls, Webhook
from moltbot_operator.rotation import Issuer, Reader

__all__ = ["Issuers"]


class Issuers:
    """All issuers of a process: their hosts are called within limits, whichever backend asks.

    `loopback`: whether the operator's own node may be called, as tests do.
    """

    def __init__(
        self,
        hosts: Hosts | None = None,
        *,
        loopback: bool = False,
        timeout: timedelta = TIMEOUT,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self._hosts = hosts or Hosts(time.monotonic)
        self._loopback = loopback
        self._timeout = timeout
        self._pauses_s = pauses_s

    async def open(self, spec: ModelBackendSpec, namespace: str, reader: Reader) -> Issuer:
        """The issuer of a backend with `rotation`. InvalidInput if what the spec refers to is missing."""
        if spec.rotation is None:
            raise InvalidInput("spec.rotation is missing: there is no issuer to open")
        issuer = spec.rotation.issuer
        verifier = await self._verifier(spec, namespace, reader)
        if issuer.webhook is not None:
            trust = await self._caller(await self._private_ca(spec, reader), alone=False)
            return Webhook(await admin_calls(issuer.webhook, reader), trust, verifier)
        if issuer.dynamic_registration is not None:
            return await self._registration(spec, issuer.dynamic_registration, reader, verifier)
        if issuer.type is IssuerType.MANAGED_KEY:
            if spec.auth.jwt is None:
                raise InvalidInput("rotation.issuer.type: ManagedKey needs auth.type: JWT")
            return SigningKeys(spec.auth.jwt.algorithm, verifier)
        return ExternalSecret(verifier)

    async def _registration(
        self, spec: ModelBackendSpec, wanted: DynamicRegistration, reader: Reader, verifier: Verifier
    ) -> Registration:
        if spec.auth.oauth2 is None:
            raise InvalidInput("rotation.issuer.type: DynamicRegistration needs auth.type: OAuth2")
        token = wanted.initial_access_token_ref
        return Registration(
            url=wanted.registration_url,
            initial_token=None if token is None else await reader.secret(token),
            oauth2=spec.auth.oauth2,
            caller=await self._caller(await self._private_ca(spec, reader), alone=False),
            verifier=verifier,
        )

    async def _verifier(self, spec: ModelBackendSpec, namespace: str, reader: Reader) -> Verifier:
        """Trusts as gateways do: a private bundle instead of the public ones."""
        oauth2, tls = spec.auth.oauth2, spec.endpoint.tls if spec.endpoint else None
        backend_ca = await reader.ca(tls.ca_ref) if tls and tls.ca_ref else None
        token_ca = await reader.ca(oauth2.ca_ref) if oauth2 and oauth2.ca_ref else None
        return Verifier(
            spec,
            namespace,
            backend=await self._caller(backend_ca, alone=True),
            endpoint=await self._caller(token_ca, alone=True),
            pauses_s=self._pauses_s,
        )

    async def _private_ca(self, spec: ModelBackendSpec, reader: Reader) -> str | None:
        """The bundle for the token endpoint, else for the backend: an issuer is trusted by it, too."""
        oauth2, tls = spec.auth.oauth2, spec.endpoint.tls if spec.endpoint else None
        if oauth2 and oauth2.ca_ref:
            return await reader.ca(oauth2.ca_ref)
        return await reader.ca(tls.ca_ref) if tls and tls.ca_ref else None

    async def _caller(self, bundle: str | None, *, alone: bool) -> Caller:
        trust = await asyncio.to_thread(_trust, bundle, alone)
        return Caller(self._hosts, trust, loopback=self._loopback, timeout=self._timeout)


async def admin_calls(webhook: WebhookIssuer, reader: Reader) -> AdminCalls:
    """The calls of a preset, or those that are written; the latter win where both are."""
    secret = await reader.secret(webhook.secret_ref)
    headers = {webhook.header.lower(): f"{webhook.prefix}{secret}", "accept": "application/json"}
    if webhook.preset is None:
        if webhook.list is None or webhook.create is None or webhook.revoke is None:
            raise InvalidInput(
                "rotation.issuer.webhook: give a preset, or all three of list, create and revoke"
            )
        return AdminCalls(webhook.list, webhook.create, webhook.revoke, headers)
    api = ADMIN_APIS[webhook.preset]
    base = _base(webhook, webhook.preset)
    return AdminCalls(
        list=webhook.list or _at(base, api.list),
        create=webhook.create or _at(base, api.create),
        revoke=webhook.revoke or _at(base, api.revoke),
        headers=headers,
        paging=api.paging if webhook.list is None else None,
    )


def _base(webhook: WebhookIssuer, preset: WebhookPreset) -> str:
    api = ADMIN_APIS[preset]
    path = "/organization/projects/{project}" if api.project else ""
    base = f"{webhook.url.rstrip('/')}{path}" if webhook.url else api.base
    if base is None:
        raise InvalidInput(f"rotation.issuer.webhook: preset {preset} has no public address: write url")
    if api.project and webhook.project is None:
        raise InvalidInput(f"rotation.issuer.webhook: preset {preset} needs project, such as proj_abc123")
    return base.replace("{project}", webhook.project or "")


def _at(base: str, call: HttpCall) -> HttpCall:
    return call.model_copy(update={"url": f"{base}{call.url}"})


@functools.lru_cache(maxsize=64)
def _trust(bundle: str | None, alone: bool) -> ssl.SSLContext:
    """Trust in the public CAs, a private bundle, or both. InvalidInput where the bundle is none."""
    context = trusting()
    if bundle is not None and alone:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    elif Path(SYSTEM_CA).exists():
        context.load_verify_locations(cafile=SYSTEM_CA)
    if bundle is not None:
        try:
            context.load_verify_locations(cadata=bundle)
        except (ssl.SSLError, ValueError):
            raise InvalidInput("the CA bundle that caRef names holds no certificates in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
