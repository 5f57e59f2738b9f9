"""What `moltbot serve` is given: manifests or a models.config.json, read into the compiler's input."""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import ValidationError

from moltbot_agent.jwks import usable_jwks
from moltbot_agent.sources import Unusable
from moltbot_operator.api import (
    AllowedNamespaces,
    Consumer,
    Endpoint,
    IssuerType,
    ModelBackend,
    MoltBotRoute,
    faults,
    parse_manifest,
    unsupported_backend,
)
from moltbot_operator.compile import BackendRef, BackendSource, ConsumerSource, Files, Problem, RouteSources
from moltbot_operator.compile.credentials import MANAGED_KEY, managed_secret, secret_ref
from moltbot_operator.constants import ANNOTATION_ROTATE_AT
from moltbot_operator.errors import InvalidInput
from moltbot_operator.inputs import read_text
from moltbot_operator.positions import only_yaml_errors, place, syntax
from moltbot_operator.serve.watch import expand

__all__ = ["DataKind", "KeySecret", "Manifests", "Rotated", "read"]

DataKind = Literal["Secret", "ConfigMap"]


@dataclass(frozen=True)
class KeySecret:
    """A Secret with keys of consumers, by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def place(self) -> tuple[DataKind, str, str]:
        """Where `Manifests.data` has it."""
        return "Secret", self.namespace, self.name


Rotated = BackendRef | KeySecret
"""Whose credential or key is replaced here."""

_NAMESPACE: Final = "default"
_DATA_KINDS: Final[tuple[DataKind, ...]] = ("Secret", "ConfigMap")


@dataclass
class Manifests:
    """Every object of the given files, by namespace and name."""

    routes: dict[BackendRef, MoltBotRoute] = field(default_factory=dict)
    backends: dict[BackendRef, ModelBackend] = field(default_factory=dict)
    data: dict[tuple[DataKind, str, str], dict[str, bytes]] = field(default_factory=dict)
    """Values of Secrets and ConfigMaps, by kind, namespace and name."""
    rotate_at: dict[KeySecret, datetime] = field(default_factory=dict)
    """When a Secret's annotation asks for another key."""
    rotated: set[Rotated] = field(default_factory=set)
    """Backends whose credential a rotation has taken over (what they are sent is in a Secret of its own), and
    Secrets whose keys are made here."""
    given: dict[KeySecret, dict[str, bytes]] = field(default_factory=dict)
    """What the files themselves have in Secrets whose keys are made here."""

    def rotating(self, route: str | None) -> set[Rotated]:
        """Backends of the route, and Secrets of its consumers, whose credential is to be rotated here."""
        namespace, chosen = self.chosen(route)
        names = {name for rule in chosen.spec.rules for name in rule.backends}
        used = {BackendRef.parse(name, namespace) for name in names}
        found: set[Rotated] = {
            ref
            for ref in used & self.backends.keys()
            if (spec := self.backends[ref].spec).rotation is not None and not unsupported_backend(spec)
        }
        return found | {
            KeySecret(namespace, key.secret_ref.name)
            for consumer in chosen.spec.consumers
            if (key := consumer.auth.api_key) is not None and key.rotation is not None
        }

    def chosen(self, name: str | None) -> tuple[str, MoltBotRoute]:
        """Namespace and object of the route to serve; InvalidInput where it is not clear which."""
        found = [(ref, route) for ref, route in self.routes.items() if name in (None, ref.name, str(ref))]
        if not self.routes:
            raise InvalidInput("the files hold no MoltBotRoute: give the file with the route too")
        if len(found) == 1:
            ref, route = found[0]
            return ref.namespace, route
        known = ", ".join(str(ref) for ref in sorted(self.routes))
        if not found:
            raise InvalidInput(f"the files hold no MoltBotRoute {name}: choose one of {known} with --route")
        raise InvalidInput(f"the files hold several MoltBotRoutes: choose one of {known} with --route")

    def sources(self, route: str | None, endpoints: Mapping[str, str], files: Files) -> RouteSources:
        """The compiler's input for one route; InvalidInput for what can't be served at all.

        `endpoints` maps backends (`name` or `namespace/name`) to URLs that replace their own.
        """
        namespace, chosen = self.chosen(route)
        elsewhere = {BackendRef.parse(name, namespace): url for name, url in endpoints.items()}
        unknown = sorted(str(ref) for ref in elsewhere if ref not in self.backends)
        if unknown:
            raise InvalidInput(
                f"--endpoint names {', '.join(unknown)}, but the files hold no such ModelBackend"
            )
        return RouteSources(
            namespace=namespace,
            name=chosen.metadata.name,
            spec=chosen.spec,
            backends={
                ref: self._backend(ref, backend, elsewhere.get(ref), namespace)
                for ref, backend in self.backends.items()
            },
            consumers={
                consumer.name: ConsumerSource(consumer.name, self._consumer_problem(namespace, consumer))
                for consumer in chosen.spec.consumers
            },
            files=files,
        )

    def make_keys(self, folder: Path) -> dict[BackendRef, Path]:
        """Take in the managed signing keys, which are kept in `folder`; the file with each one's JWKS."""
        published = {}
        for ref, backend in self.backends.items():
            algorithm = _managed(backend)
            if algorithm is not None:
                from moltbot_operator.serve.keys import key_files, managed_key  # noqa: PLC0415 - few need it

                if ref in self.rotated:
                    published[ref] = key_files(folder, ref, algorithm)[1]
                    continue
                pem, published[ref] = managed_key(folder, ref, algorithm)
                self.data["Secret", ref.namespace, managed_secret(ref.name, algorithm)] = {MANAGED_KEY: pem}
        return published

    def _backend(
        self, ref: BackendRef, backend: ModelBackend, url: str | None, namespace: str
    ) -> BackendSource:
        spec = backend.spec
        if url is not None:
            tls = spec.endpoint.tls if spec.endpoint and url.startswith("https:") else None
            try:
                spec = spec.model_copy(update={"endpoint": Endpoint(url=url, tls=tls)})
            except ValidationError as error:
                raise InvalidInput(f"--endpoint {ref.name}={url}: {error.errors()[0]['msg']}") from error
        return BackendSource(ref, spec, self._problem(ref, backend, namespace), ref in self.rotated)

    def _problem(self, ref: BackendRef, backend: ModelBackend, namespace: str) -> Problem | None:
        unsupported = unsupported_backend(backend.spec)
        if unsupported:
            return Problem(
                "NotSupportedYet", f"ModelBackend {ref}: not supported yet: {', '.join(unsupported)}"
            )
        allowed = backend.spec.allowed_routes.namespaces
        if namespace != ref.namespace and allowed is AllowedNamespaces.SAME:
            return Problem(
                "RefNotPermitted",
                f"ModelBackend {ref} does not allow routes of namespace {namespace}: set its "
                "spec.allowedRoutes.namespaces",
            )
        if _managed(backend) is not None or ref in self.rotated:
            return None  # made when it serves, or here already
        used = secret_ref(ref.name, backend.spec)
        rotation = backend.spec.rotation
        if rotation is not None and rotation.issuer.type is not IssuerType.EXTERNAL:
            given = None if used is None else self.data.get(("Secret", ref.namespace, used.name))
            if given is None:
                return Problem(
                    "CredentialNotIssued", f"ModelBackend {ref}: its first credential is being issued"
                )
        return None if used is None else self._missing_secret(ref.namespace, used.name, used.key)

    def _consumer_problem(self, namespace: str, consumer: Consumer) -> Problem | None:
        if consumer.auth.api_key is not None:
            name = consumer.auth.api_key.secret_ref.name
            made_here = KeySecret(namespace, name) in self.rotated
            return None if made_here else self._missing_secret(namespace, name)
        if consumer.auth.jwt is None or (ref := consumer.auth.jwt.jwks.config_map_ref) is None:
            return None
        at = f"ConfigMap {namespace}/{ref.name}"
        found = self.data.get(("ConfigMap", namespace, ref.name))
        if found is None:
            return Problem("ConfigMapNotFound", f"{at} is in none of the files: add it")
        if ref.key not in found:
            return Problem("ConfigMapKeyNotFound", f"{at} has no value {ref.key}: add it")
        try:
            usable_jwks(found[ref.key])
        except Unusable as error:
            return Problem("JWKSUnusable", f"{at}: the value of {ref.key} {error}")
        return None

    def _missing_secret(self, namespace: str, name: str, key: str | None = None) -> Problem | None:
        found = self.data.get(("Secret", namespace, name))
        if found is None:
            return Problem("SecretNotFound", f"Secret {namespace}/{name} is in none of the files: add it")
        if key is not None and not found.get(key):
            return Problem("SecretKeyNotFound", f"Secret {namespace}/{name} has no value {key}: add it")
        return None


def _managed(backend: ModelBackend) -> str | None:
    """The algorithm of a backend's managed signing key."""
    jwt = backend.spec.auth.jwt
    return jwt.algorithm.value if jwt is not None and jwt.signing_key.managed else None


def read(files: Sequence[Path]) -> Manifests:
    """All objects of the files and folders. InvalidInput names file, object, field and remedy."""
    found = Manifests()
    for file in expand(files):
        for source, part in _parts(file, read_text(file)):
            _read_part(found, source, part)
    return found


def _parts(file: Path, text: str) -> Iterable[tuple[str, str]]:
    if file.suffix == ".json" and '"apiVersion"' not in text:
        from moltbot_operator.convert import convert_text  # noqa: PLC0415 - manifests need no converter

        return [
            (f"{file} ({name})", manifest) for name, manifest in convert_text(text, source=str(file)).items()
        ]
    return [(str(file), text)]


def _read_part(found: Manifests, source: str, text: str) -> None:
    try:
        with only_yaml_errors():
            documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise InvalidInput(f"{source}: {syntax(error)}; this is no YAML") from error
    for number, document in enumerate(documents):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise InvalidInput(
                f"{source}: {place(text, (), number)}write objects with apiVersion, kind, metadata and spec"
            )
        if document.get("kind") in _DATA_KINDS:
            _read_data(found, source, document)
        else:
            _read_resource(found, source, document, text, number)


class _Loader(yaml.CSafeLoader):
    """YAML as kubectl reads it: a date is text, not a time."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_resource(found: Manifests, source: str, document: dict[str, Any], text: str, number: int) -> None:
    try:
        manifest = parse_manifest(document)
    except InvalidInput as error:
        cause = error.__cause__
        places: list[tuple[str | int, ...]] = [("kind",)]
        if isinstance(cause, ValidationError):
            places = [each["loc"] for each in faults(cause)]
        lines = [
            f"{source}: {place(text, path, number)}{line}"
            for path, line in zip(places, str(error).splitlines(), strict=True)
        ]
        raise InvalidInput("\n".join(lines)) from error
    ref = BackendRef(manifest.metadata.namespace or _NAMESPACE, manifest.metadata.name)
    held: dict[BackendRef, Any] = found.routes if isinstance(manifest, MoltBotRoute) else found.backends
    if ref in held:
        raise InvalidInput(f"{source}: {manifest.kind} {ref} is given twice: remove one")
    held[ref] = manifest


def _read_data(found: Manifests, source: str, document: dict[str, Any]) -> None:
    kind: DataKind = document["kind"]
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise InvalidInput(f"{source}: a {kind} has no metadata.name: write one")
    namespace, name = metadata.get("namespace") or _NAMESPACE, metadata["name"]
    at = f"{source}: {kind} {namespace}/{name}"
    plain = _strings(document, "stringData" if kind == "Secret" else "data", at)
    values = {key: value.encode() for key, value in plain.items()}
    if kind == "Secret":
        for key, value in _strings(document, "data", at).items():
            try:
                values.setdefault(key, base64.b64decode(value, validate=True))
            except binascii.Error as error:
                raise InvalidInput(
                    f"{at}: data.{key}: this is no base64: use stringData for plain text"
                ) from error
    found.data[kind, namespace, name] = values
    asked = _annotation(metadata, ANNOTATION_ROTATE_AT) if kind == "Secret" else None
    if asked is not None:
        found.rotate_at[KeySecret(namespace, name)] = _moment(asked, at)


def _annotation(metadata: Mapping[str, Any], name: str) -> Any:
    annotations = metadata.get("annotations")
    return annotations.get(name) if isinstance(annotations, dict) else None


def _moment(text: Any, at: str) -> datetime:
    from moltbot_operator.rotation.timing import moment_of  # noqa: PLC0415 - few need it

    found = moment_of(text)
    if found is None:
        raise InvalidInput(
            f"{at}: metadata.annotations.{ANNOTATION_ROTATE_AT}: this is no time: write one as "
            "2026-01-31T08:00:00Z, or remove it"
        )
    return found


def _strings(document: dict[str, Any], name: str, at: str) -> dict[str, str]:
    values = document.get(name) or {}
    if not isinstance(values, dict) or not all(
        isinstance(key, str) and isinstance(value, str) and "/" not in key for key, value in values.items()
    ):
        raise InvalidInput(f"{at}: {name}: write a mapping of names to strings (quote numbers)")
    return values
