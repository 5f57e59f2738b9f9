"""Runs the rotations of a server: a task for each backend, and each Secret of consumers, with `rotation`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from moltbot_operator.compile import Mount, RouteSources
from moltbot_operator.rotation import IssuerFor
from moltbot_operator.serve.files import KeySecret, Manifests, Rotated
from moltbot_operator.serve.rotation.around import RevisionGateways
from moltbot_operator.serve.rotation.backends import BackendCredential
from moltbot_operator.serve.rotation.consumers import ConsumerKey
from moltbot_operator.serve.rotation.task import Rotation, Shared, Subject
from moltbot_operator.serve.words import Words

__all__ = ["Rotations"]


class Rotations:
    """All of one server."""

    def __init__(
        self,
        folder: Path,
        words: Words,
        gateways: RevisionGateways,
        changed: Callable[[Rotated], Awaitable[None]],
        opener: IssuerFor | None = None,
    ) -> None:
        """`changed` is awaited when a rotation's state, or what gateways are to be given, is another."""
        self._words = words
        self._changed = changed
        self._opener = opener
        self._served = Manifests()
        self._known: dict[Rotated, Rotation] = {}
        self._shared = Shared(folder, gateways, lambda: self._served, self._opened)

    @property
    def all(self) -> list[Rotation]:
        """Backends, then consumers' keys, by namespace and name."""
        return sorted(self._known.values(), key=lambda each: (each.subject.kind, each.subject.name))

    def fill(self, manifests: Manifests, refs: set[Rotated]) -> None:
        """Put the credentials in use, as far as there are some, into what the files say.

        InvalidInput where another server rotates one of them, or the disk can't be used.
        """
        for ref in sorted(refs, key=str):
            if ref not in self._known:
                self._known[ref] = self._open(ref)
            known = self._known[ref]
            known.subject.fill(manifests, known.store.values())

    def serve(self, manifests: Manifests, sources: RouteSources, refs: set[Rotated]) -> None:
        """These files are served now: begin what is new, go on with the rest, end what is gone."""
        self._served = manifests
        for ref in [each for each in self._known if each not in refs]:
            self._known.pop(ref).end()
        for ref in refs:
            known = self._known[ref]
            wish = known.subject.wish(manifests, sources)
            if known.wish != wish:
                known.begin(wish, known.subject.plan(wish, known.store, self._shared))
            known.go_on()

    def current(self, ref: Rotated) -> Manifests:
        """Only what gateways are to be given for this one now, beside what the served files have there."""
        made = Manifests(data={each.place: dict(has) for each, has in self._served.given.items()})
        self.fill(made, {ref})
        return made

    def gives(self, ref: Rotated, mount: Mount) -> bool:
        """Whether gateways are given this one by the mount."""
        return self._known[ref].subject.gives(mount)

    async def close(self) -> None:
        """End all of them; the next start goes on from where each is."""
        known = list(self._known.values())
        self._known.clear()
        for each in known:
            each.end()
        await asyncio.gather(*(each.task for each in known if each.task is not None), return_exceptions=True)

    def _open(self, ref: Rotated) -> Rotation:
        subject: Subject = ConsumerKey(ref) if isinstance(ref, KeySecret) else BackendCredential(ref)

        async def changed() -> None:
            await self._changed(ref)

        return Rotation(subject, subject.opened(self._shared.folder, changed), self._words)

    def _opened(self) -> IssuerFor:
        if self._opener is None:
            from moltbot_operator.providers.issuers import Issuers  # noqa: PLC0415 - requests come first

            self._opener = Issuers(loopback=True).open
        return self._opener
