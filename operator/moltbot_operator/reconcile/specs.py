"""Specs of cached objects, each parsed once for a generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from moltbot_operator.api import ModelBackendSpec, MoltBotRouteSpec
from moltbot_operator.api import unsupported_backend as _unsupported_backend
from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions import Reason
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.reconcile.problems import unsupported

__all__ = ["BackendSpecs", "Parsed", "RouteSpecs"]

Spec = TypeVar("Spec", ModelBackendSpec, MoltBotRouteSpec)


@dataclass(frozen=True)
class Parsed(Generic[Spec]):
    """A spec, or why it is refused; a spec that is valid but not supported yet is refused and known."""

    spec: Spec | None
    refused: Problem | None = None


class _Specs(Generic[Spec]):
    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[tuple[Any, Any], Parsed[Spec]]] = {}

    def parse(self, manifest: Manifest) -> Parsed[Spec]:
        """The spec of an object of the cache."""
        meta = manifest["metadata"]
        place = (meta.get("namespace", ""), meta["name"])
        version = (meta.get("uid"), meta.get("generation"))
        known = self._known.get(place)
        if known is None or known[0] != version:
            self._known[place] = known = (version, self._read(manifest.get("spec") or {}))
        return known[1]

    def forget(self, namespace: str, name: str) -> None:
        """The object is gone."""
        self._known.pop((namespace, name), None)

    def _read(self, spec: Mapping[str, Any]) -> Parsed[Spec]:
        raise NotImplementedError


class RouteSpecs(_Specs[MoltBotRouteSpec]):
    """Specs of MoltBotRoutes."""

    def _read(self, spec: Mapping[str, Any]) -> Parsed[MoltBotRouteSpec]:
        try:
            parsed = MoltBotRouteSpec.model_validate(spec)
        except ValidationError as error:
            return Parsed(None, _invalid(error))
        return Parsed(parsed)


class BackendSpecs(_Specs[ModelBackendSpec]):
    """Specs of ModelBackends."""

    def _read(self, spec: Mapping[str, Any]) -> Parsed[ModelBackendSpec]:
        try:
            parsed = ModelBackendSpec.model_validate(spec)
        except ValidationError as error:
            return Parsed(None, _invalid(error))
        return Parsed(parsed, unsupported(_unsupported_backend(parsed)))


def _invalid(error: ValidationError) -> Problem:
    """The schema should have refused it. The value is not repeated: it may be a misplaced secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(["spec", *(str(part) for part in first["loc"])])
    message = f"{where}: {first['msg']}: mend the field, or install the CRDs of this operator's version."
    return Problem(Reason.INVALID_SPEC, message)
