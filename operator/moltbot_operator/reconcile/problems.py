"""What is wrong with references, in words that say what to do (pure)."""

from collections.abc import Iterable, Mapping

from moltbot_operator.api import (
    AllowedNamespaces,
    AuthType,
    CaKind,
    CaRef,
    ConfigMapKeyRef,
    ConsumerAPIKey,
    IssuerType,
    ModelBackendSpec,
    SecretKeyRef,
)
from moltbot_operator.compile.credentials import secret_ref
from moltbot_operator.compile.sources import BackendRef, Problem
from moltbot_operator.conditions import Reason
from moltbot_operator.reconcile.contents import Contents

__all__ = [
    "Place",
    "backend_places",
    "backend_problems",
    "certificate_problem",
    "consent_problem",
    "consumer_problem",
    "jwks_problem",
    "not_found",
    "unsupported",
]

_FIELDS = {
    AuthType.API_KEY: "apiKey.secretRef",
    AuthType.OAUTH2: "oauth2.clientSecretRef",
    AuthType.JWT: "jwt.signingKey.secretRef",
}
"""Field of spec.auth that names the credential's Secret."""

Place = tuple[str, str]
"""`Secret` or `ConfigMap`, and a name in the namespace at hand."""


def backend_places(spec: ModelBackendSpec, *, rotated: bool = False) -> list[Place]:
    """Secrets and ConfigMaps that a backend names, all in its own namespace.

    `rotated`: the operator has taken the credential over, and needs no longer what the spec names.
    """
    places: list[Place] = []
    if not rotated and not _managed(spec) and (secret := secret_ref("", spec)) is not None:
        places.append(("Secret", secret.name))
    if spec.auth.oauth2 and (token_ca := spec.auth.oauth2.ca_ref):
        places.append((str(token_ca.kind), token_ca.name))
    if spec.endpoint and spec.endpoint.tls and (ca := spec.endpoint.tls.ca_ref):
        places.append((str(ca.kind), ca.name))
    return places


def backend_problems(
    ref: BackendRef,
    spec: ModelBackendSpec,
    found: Mapping[Place, Contents | None],
    *,
    rotated: bool = False,
) -> list[Problem]:
    """Missing or unusable references of a backend, the credential's first."""
    problems: list[Problem | None] = []
    secret = None if _managed(spec) else secret_ref(ref.name, spec)
    if spec.rotation is not None and not rotated and not _managed(spec):
        there = secret is not None and found.get(("Secret", secret.name)) is not None
        problems.append(None if there else _not_issued(ref, spec.rotation.issuer.type, secret))
        secret = secret if there else None
    if not rotated and secret is not None:
        place = ("Secret", secret.name)
        contents, field = found.get(place), f"ModelBackend {ref}: spec.auth.{_FIELDS[spec.auth.type]}"
        if spec.auth.jwt and contents is not None:
            contents = _for_signing(contents, spec.auth.jwt.algorithm)
        problems.append(_key_problem(field, ref, place, secret.key, contents))
    if spec.auth.oauth2 and (ca := spec.auth.oauth2.ca_ref):
        problems.append(_ca_problem(f"ModelBackend {ref}: spec.auth.oauth2.caRef", ref, ca, found))
    if spec.endpoint and spec.endpoint.tls and (ca := spec.endpoint.tls.ca_ref):
        problems.append(_ca_problem(f"ModelBackend {ref}: spec.endpoint.tls.caRef", ref, ca, found))
    return [problem for problem in problems if problem]


def _not_issued(ref: BackendRef, issuer: IssuerType, secret: SecretKeyRef | None) -> Problem:
    if issuer is IssuerType.EXTERNAL and secret is not None:
        message = (
            f"ModelBackend {ref}: Secret {ref.namespace}/{secret.name} does not exist yet: whoever fills it "
            f"must write key {secret.key}."
        )
        return Problem(Reason.SECRET_NOT_FOUND, message)
    message = f"ModelBackend {ref}: its first credential is being issued: see status.credential.message."
    return Problem(Reason.CREDENTIAL_NOT_ISSUED, message)


def _managed(spec: ModelBackendSpec) -> bool:
    """Whether the operator makes the key itself: its Secret is no reference of the user's."""
    return spec.auth.jwt is not None and spec.auth.jwt.signing_key.managed


def _for_signing(contents: Contents, algorithm: str) -> Contents:
    """With the flaws that matter for a key that signs."""
    unfit = {
        key: f"is a key for {' or '.join(able)} and not for {algorithm}"
        for key, able in contents.algorithms.items()
        if algorithm not in able
    }
    return Contents(contents.keys, {**contents.key_flaws, **unfit})


def _ca_problem(
    field: str, ref: BackendRef, ca: CaRef, found: Mapping[Place, Contents | None]
) -> Problem | None:
    place = (str(ca.kind), ca.name)
    contents = found.get(place)
    # A PEM bundle has line breaks, and that is no flaw.
    return _key_problem(field, ref, place, ca.key, Contents(contents.keys) if contents else None)


def _key_problem(
    field: str, ref: BackendRef, place: Place, key: str, contents: Contents | None
) -> Problem | None:
    kind, name = place
    what = f"{kind} {ref.namespace}/{name}"
    secret = kind == CaKind.SECRET
    if contents is None:
        reason = Reason.SECRET_NOT_FOUND if secret else Reason.CONFIG_MAP_NOT_FOUND
        message = f"{field} names {what}, which does not exist: create it with key {key}."
        return Problem(reason, message)
    if key not in contents.keys:
        reason = Reason.SECRET_KEY_NOT_FOUND if secret else Reason.CONFIG_MAP_KEY_NOT_FOUND
        message = f"{field} names key {key}, which {what} lacks: add it, or name another."
        return Problem(reason, message)
    if key in contents.flaws:
        message = f"{field}: the value of key {key} in {what} {contents.flaws[key]}: replace it."
        return Problem(Reason.SECRET_VALUE_UNUSABLE, message)
    return None


def consumer_problem(
    name: str, api_key: ConsumerAPIKey, namespace: str, contents: Contents | None
) -> Problem | None:
    """Why a consumer's keys can't be used; each key of its Secret is one."""
    secret = f"Secret {namespace}/{api_key.secret_ref.name}"
    whose = f"consumers[{name}].auth.apiKey"
    if contents is None and api_key.rotation is not None:
        return Problem(
            Reason.SECRET_NOT_FOUND, f"{whose}: {secret} is being made; till then requests get 401."
        )
    if contents is None:
        message = f"{whose} names {secret}, which does not exist: create it; until then requests get 401."
        return Problem(Reason.SECRET_NOT_FOUND, message)
    if not contents.keys:
        return Problem(Reason.SECRET_KEY_NOT_FOUND, f"{whose}: {secret} has no key: add one under any name.")
    if bad := sorted(contents.flaws):
        message = (
            f"{whose}: the value of key {bad[0]} in {secret} {contents.flaws[bad[0]]}: replace or remove it."
        )
        return Problem(Reason.SECRET_VALUE_UNUSABLE, message)
    return None


def jwks_problem(
    name: str, reference: ConfigMapKeyRef, namespace: str, contents: Contents | None
) -> Problem | None:
    """Why a consumer's tokens can't be verified."""
    config_map = f"ConfigMap {namespace}/{reference.name}"
    whose = f"consumers[{name}].auth.jwt.jwks.configMapRef"
    if contents is None:
        message = (
            f"{whose} names {config_map}, which does not exist: create it; till then its tokens get 503."
        )
        return Problem(Reason.CONFIG_MAP_NOT_FOUND, message)
    if reference.key not in contents.keys:
        message = f"{whose} names key {reference.key}, which {config_map} lacks: add it, or name another."
        return Problem(Reason.CONFIG_MAP_KEY_NOT_FOUND, message)
    if flaw := contents.no_jwks.get(reference.key):
        message = f"{whose}: the value of key {reference.key} in {config_map} {flaw}."
        return Problem(Reason.JWKS_UNUSABLE, message)
    return None


def certificate_problem(name: str, namespace: str, contents: Contents | None) -> Problem | None:
    """Why clients can't be shown the certificate of a Secret."""
    what = f"spec.gateway.tls.secretRef names Secret {namespace}/{name}"
    if contents is None:
        message = f"{what}, which does not exist: create it; pods start with it only."
        return Problem(Reason.SECRET_NOT_FOUND, message)
    if missing := [key for key in ("tls.crt", "tls.key") if key not in contents.keys]:
        message = f"{what}, which lacks the key {missing[0]}: create it with type kubernetes.io/tls."
        return Problem(Reason.SECRET_KEY_NOT_FOUND, message)
    if contents.no_certificate:
        return Problem(Reason.SECRET_VALUE_UNUSABLE, f"{what}, which {contents.no_certificate}.")
    return None


def consent_problem(
    ref: BackendRef, spec: ModelBackendSpec, namespace: str, labels: Mapping[str, str]
) -> Problem | None:
    """Why a route of `namespace` (with these labels) may not use the backend; None if it may."""
    allowed = spec.allowed_routes
    if ref.namespace == namespace or allowed.namespaces is AllowedNamespaces.ALL:
        return None
    if allowed.namespaces is AllowedNamespaces.SELECTOR and allowed.selector:
        if allowed.selector.selects(dict(labels)):
            return None
        message = (
            f"ModelBackend {ref} lets only namespaces use it that its allowedRoutes.selector selects: "
            f"ask its owner, or label namespace {namespace} accordingly."
        )
        return Problem(Reason.NOT_ALLOWED, message)
    message = (
        f"ModelBackend {ref} does not let namespace {namespace} use it: its owner must set "
        "spec.allowedRoutes, e.g. {namespaces: All}, which copies its credential there."
    )
    return Problem(Reason.NOT_ALLOWED, message)


def not_found(ref: BackendRef) -> Problem:
    """A backend that the route names does not exist."""
    return Problem(
        Reason.BACKEND_NOT_FOUND, f"ModelBackend {ref} does not exist: create it, or name another."
    )


def unsupported(paths: Iterable[str]) -> Problem | None:
    """Fields that the spec uses and this version does not implement."""
    if listed := sorted(paths):
        fields = ", ".join(f"spec.{path.removeprefix('spec.')}" for path in listed)
        verb = "is" if len(listed) == 1 else "are"
        message = f"{fields} {verb} not implemented by this version: remove it, or upgrade the operator."
        return Problem(Reason.NOT_SUPPORTED_YET, message)
    return None
