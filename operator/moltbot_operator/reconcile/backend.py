"""One ModelBackend: is it valid, is its credential there, who uses it.

It owns no objects but a managed signing key and its JWKS (see signing_keys.py), and the Secrets of a rotated
credential (see rotation/).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from moltbot_operator.api import AuthType, ModelBackendSpec, resolve_endpoint
from moltbot_operator.compile.sources import BackendRef, Problem
from moltbot_operator.conditions import BackendFacts, Reason, backend_conditions, merge
from moltbot_operator.errors import InvalidInput
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import MODEL_BACKEND
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.announce import condition_announcements
from moltbot_operator.reconcile.contents import ContentsMemo
from moltbot_operator.reconcile.evidence import EvidenceReader
from moltbot_operator.reconcile.gather import Gatherer, is_rotated
from moltbot_operator.reconcile.problems import backend_places, backend_problems
from moltbot_operator.reconcile.publish import Publisher
from moltbot_operator.reconcile.references import references_of
from moltbot_operator.reconcile.rotation.facts import rotation_facts
from moltbot_operator.reconcile.rotation.rotations import Rotations
from moltbot_operator.reconcile.signing_keys import SigningKeys
from moltbot_operator.reconcile.specs import BackendSpecs
from moltbot_operator.reconcile.watch_objectives import LOOK, ObjectivesWatch, observed_status
from moltbot_operator.rotation import IssuerFor

__all__ = ["BackendReconciler"]


class BackendReconciler:
    """Reconciles ModelBackends."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        evidence: EvidenceReader,
        clock: Callable[[], datetime],
        settings: object,  # noqa: ARG002
        *,
        issuers: IssuerFor | None = None,
    ) -> None:
        """`issuers` opens a backend's issuer; without it no credential is rotated."""
        self._cache = cache
        self._clock = clock
        self._specs = BackendSpecs()
        self._gatherer = Gatherer(cache, ContentsMemo(cluster, cache), self._specs)
        self._signing_keys = SigningKeys(cluster, cache)
        self._objectives = ObjectivesWatch(cluster, cache)
        self._publisher = Publisher(cluster, cache, MODEL_BACKEND)
        self.rotations = Rotations(cluster, cache, evidence, clock, issuers) if issuers else None

    async def reconcile(self, key: Key) -> timedelta | None:
        """Bring the status up to date; ClusterError if the API server refuses or does not answer.

        A backend with objectives is looked at again each minute.
        """
        manifest = self._cache.get(MODEL_BACKEND, key.namespace, key.name)
        if manifest is None:
            self._specs.forget(key.namespace, key.name)
            self._objectives.forget(key.namespace, key.name)
            self._rotate(None, key)
            return None
        if manifest["metadata"].get("deletionTimestamp"):
            return None
        ref = BackendRef(key.namespace, key.name)
        parsed = self._specs.parse(manifest)
        spec, refused, unresolved, endpoint, rotated = parsed.spec, parsed.refused, [], None, False
        if spec is not None:
            rotated = is_rotated(manifest, spec)
            found = await self._gatherer.places(key.namespace, backend_places(spec, rotated=rotated))
            unresolved = backend_problems(ref, spec, found, rotated=rotated)
            endpoint, unresolvable = _endpoint(spec, key.namespace)
            refused = refused or unresolvable
        usable = spec if refused is None else None
        key_made = await self._signing_keys.ensure(manifest, usable, rotated=rotated) if usable else None
        self._rotate(manifest if usable else None, key, usable)
        if key_made and key_made.problem:
            unresolved = [key_made.problem, *unresolved]
        now, shown = self._clock(), None
        if spec is not None and spec.objectives is not None and refused is None:
            shown = await self._objectives.look(manifest, spec.objectives, now)
        else:
            self._objectives.forget(key.namespace, key.name)
        facts = BackendFacts(
            refused=refused,
            unresolved=unresolved,
            needs_credential=spec is not None and spec.auth.type is not AuthType.NONE,
            rotation=rotation_facts(manifest, spec, self._clock()),
            jwks=f"{key.namespace}/{key_made.jwks}" if key_made and key_made.jwks else None,
            objectives=(shown.verdict, shown.message) if shown else None,
        )
        meta, before = manifest["metadata"], (manifest.get("status") or {}).get("conditions") or []
        conditions = merge(before, backend_conditions(facts), meta["generation"], now)
        status: dict[str, Any] = {
            "observedGeneration": meta["generation"],
            "conditions": conditions,
            "endpoint": endpoint,
            "routes": len(references_of(self._cache).routes_of.get(ref, ())),
            "observed": observed_status(shown) if shown else None,
        }
        announcements = condition_announcements(before, conditions)
        if key_made and key_made.made:
            announcements = [key_made.made, *announcements]
        await self._publisher.publish(manifest, status, announcements)
        if key_made and key_made.again:
            return key_made.again
        return LOOK if shown else None

    def _rotate(self, manifest: Manifest | None, key: Key, spec: ModelBackendSpec | None = None) -> None:
        """Have the credential rotated, or not any more."""
        if self.rotations is None:
            return
        if manifest is None or spec is None:
            self.rotations.forget(key.namespace, key.name)
        else:
            self.rotations.ensure(manifest, spec)


def _endpoint(spec: ModelBackendSpec, namespace: str) -> tuple[str | None, Problem | None]:
    try:
        return resolve_endpoint(spec, namespace).url, None
    except InvalidInput as error:
        return None, Problem(Reason.INVALID_SPEC, str(error))
