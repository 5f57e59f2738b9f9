"""What the agent is told, and which Secrets and ConfigMaps become files in the gateway pod."""

from pathlib import Path

from moltbot_agent.config import (
    AgentConfig,
    Certificate,
    ConsumerKeys,
    Consumers,
    Credential,
    IssuerKeys,
    Served,
    Verifier,
)
from moltbot_operator.compile.backends import folder
from moltbot_operator.compile.credentials import ROTATED_NEXT, token_ca_mount
from moltbot_operator.compile.envoy.access import KEYS, PROBE_KEY, key_template, keys_path, probe_template
from moltbot_operator.compile.envoy.leaving import leave_path
from moltbot_operator.compile.envoy.names import PUBLIC, upstream
from moltbot_operator.compile.envoy.shown import CERTIFICATE, certificate_path
from moltbot_operator.compile.envoy.tokens import TOKENS, token_template, tokens_path
from moltbot_operator.compile.ir import PROBE_CONSUMER, Gateway
from moltbot_operator.compile.result import Mount
from moltbot_operator.compile.sources import RouteSources

__all__ = ["agent_config", "mounts", "worker_mounts"]


def agent_config(gateway: Gateway) -> AgentConfig:
    """The agent's share; the revision is not in it yet."""
    files = gateway.files
    credentials = [
        Credential(
            name=credential.resource,
            backend=str(backend.ref),
            source=Path(files.credentials, credential.folder, credential.key),
            target=Path(files.run, "sds", f"{credential.resource}.json"),
            prefix=credential.prefix,
            next=Path(files.credentials, credential.folder, ROTATED_NEXT) if credential.rotated else None,
            token=credential.token,
            state=Path(files.run, "tokens", f"{credential.resource}.json") if credential.token else None,
        )
        for backend in gateway.backends.values()
        if (credential := backend.credential) is not None
    ]
    keys = [
        ConsumerKeys(consumer=consumer.name, source=Path(files.consumers, consumer.name))
        for consumer in gateway.consumers
        if consumer.token is None
    ]
    template, inside = key_template(gateway)
    consumers = Consumers(
        target=Path(keys_path(files.run)), resource=KEYS, keys=tuple(keys), template=template, inside=inside
    )
    return AgentConfig(
        namespace=gateway.namespace,
        route=gateway.route,
        revision="",
        admin_port=files.admin_port,
        bootstrap=Path(files.run, "envoy.json"),
        stat_prefix=PUBLIC,
        leave=Path(leave_path(files.run)),
        clusters={upstream(backend): str(backend.ref) for backend in gateway.backends.values()},
        credentials=tuple(credentials),
        consumers=consumers if keys else None,
        probe=_probe(gateway),
        verifier=_verifier(gateway) if gateway.issuers else None,
        certificate=None
        if gateway.certificate is None
        else Certificate(
            name=CERTIFICATE, source=Path(files.tls, CERTIFICATE), target=Path(certificate_path(files.run))
        ),
        served={
            str(each.ref): Served(provider=each.provider, model=each.model or "")
            for each in gateway.backends.values()
        },
        consumer_names=(
            (gateway.anonymous,) if gateway.anonymous else tuple(each.name for each in gateway.consumers)
        ),
    )


def _probe(gateway: Gateway) -> Consumers:
    key = ConsumerKeys(consumer=PROBE_CONSUMER, source=Path(gateway.files.probe))
    path = keys_path(gateway.files.run, PROBE_KEY)
    return Consumers(target=Path(path), resource=PROBE_KEY, keys=(key,), template=probe_template())


def _verifier(gateway: Gateway) -> Verifier:
    folder = gateway.files.jwks
    keys = [
        IssuerKeys(provider=issuer.name, consumer=issuer.consumer, source=Path(folder, *issuer.config_map))
        for issuer in gateway.issuers
        if issuer.config_map is not None
    ]
    return Verifier(
        target=Path(tokens_path(gateway.files.run)),
        resource=TOKENS,
        keys=tuple(keys),
        template=token_template(gateway),
    )


def mounts(gateway: Gateway, sources: RouteSources) -> tuple[Mount, ...]:
    """Credentials and CAs of every backend in use, the keys of every consumer, the certificate."""
    found = []
    for backend in gateway.backends.values():
        spec = sources.backends[backend.ref].spec
        own = folder(backend.ref)
        if (sent := backend.credential) is not None:
            found += [
                Mount("Secret", sent.namespace, sent.secret, key, "credential", sent.folder, key)
                for key in ((sent.key, ROTATED_NEXT) if sent.rotated else (sent.key,))
            ]
        if (token_ca := token_ca_mount(backend.ref, spec)) is not None:
            found.append(token_ca)
        ca = spec.endpoint.tls.ca_ref if spec.endpoint and spec.endpoint.tls else None
        if ca is not None and backend.tls is not None:
            found.append(Mount(ca.kind.value, backend.ref.namespace, ca.name, ca.key, "ca", own, "ca.crt"))
    for consumer in sources.spec.consumers:
        if consumer.auth.api_key is not None:
            name = consumer.auth.api_key.secret_ref.name
            found.append(Mount("Secret", gateway.namespace, name, None, "consumer", consumer.name, None))
    if (shown := gateway.certificate) is not None:
        found += [
            Mount("Secret", gateway.namespace, shown, key, "tls", CERTIFICATE, key)
            for key in ("tls.crt", "tls.key")
        ]
    for issuer in gateway.issuers:
        if issuer.config_map is not None:
            name, key = issuer.config_map
            found.append(Mount("ConfigMap", gateway.namespace, name, key, "jwks", name, key))
    return tuple(dict.fromkeys(found))


def worker_mounts(sources: RouteSources) -> tuple[Mount, ...]:
    """The store's password, and templates for warm-up, each ConfigMap below its own name."""
    worker = sources.spec.worker
    secret = worker.store.secret_ref if worker is not None and worker.store is not None else None
    found = []
    if secret is not None:
        found.append(Mount("Secret", sources.namespace, secret.name, secret.key, "store", "", "password"))
    for rule in sources.spec.rules:
        if rule.cache is not None and rule.cache.warm_up is not None:
            name = rule.cache.warm_up.config_map_ref.name
            found.append(Mount("ConfigMap", sources.namespace, name, None, "templates", name, None))
    return tuple(dict.fromkeys(found))
