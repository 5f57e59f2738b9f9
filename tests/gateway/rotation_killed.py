"""Rotates what is kept in a folder, killed (SIGKILL) at each step in turn, and then goes on.

Run by test_serve_rotation_kills.py: FOLDER ISSUER ADMIN-KEY PROVIDER for a backend's credential, FOLDER alone
for a consumer's key. A step is a change on the disk or a call of the issuer; it is killed right after it.
Prints a line of JSON for each step: what the folder holds, and for keys also what it held when it was killed.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

from moltbot_operator.api import parse_manifest
from moltbot_operator.providers.issuers import Issuers
from moltbot_operator.rotation.driver import Driver, Surroundings
from moltbot_operator.rotation.local import OwnKeys
from moltbot_operator.rotation.opened import OpenedIssuer
from moltbot_operator.rotation.state import Phase, Policy
from moltbot_operator.serve.files import Manifests
from moltbot_operator.serve.rotation.around import FileOrigin, FileReader
from moltbot_operator.serve.rotation.key_store import KeyFolder
from moltbot_operator.serve.rotation.store import FolderStore

FIRST = "first-s3cret-of-a-person"
CALLS = ("fsync", "replace", "unlink")


class Steps:
    """Counts what is done, and ends the process after the n-th (from 0) of it."""

    def __init__(self, kill_at):
        self.left = kill_at

    def passed(self):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def wrap(self, call):
        def wrapped(*given, **named):
            done = call(*given, **named)
            self.passed()
            return done

        return wrapped


class Killing:
    """An issuer whose calls are steps."""

    lists = True

    def __init__(self, issuer, steps):
        self.issuer, self.steps = issuer, steps

    def __getattr__(self, name):
        async def called(*given):
            done = await getattr(self.issuer, name)(*given)
            self.steps.passed()
            return done

        return called


class WithIssuer:
    """A backend's credential."""

    def __init__(self, issuer, admin_key, provider):
        self.spec, self.held = specs(issuer, admin_key, provider)
        reader = FileReader(lambda: self.held, "default")
        self.issuer = OpenedIssuer(Issuers(loopback=True, pauses_s=()).open, self.spec, reader, "default")
        self.origin = FileOrigin(lambda: self.held, "default", self.spec.auth.api_key.secret_ref)
        self.store = FolderStore

    def found(self, folder):
        mounted = json.loads((folder / "mounted.json").read_bytes())
        value = json.loads((folder / f"version-{mounted['value']}.json").read_bytes())["value"]
        versions = len(list(folder.glob("version-*")))
        uid = (folder / "uid").read_text()
        return {"uid": uid, "used": value, "mounted": mounted, "versions": versions}


class WithKeys:
    """A consumer's key."""

    def __init__(self):
        self.issuer = OwnKeys()
        self.origin = self
        self.store = lambda folder: KeyFolder(folder, nobody)

    async def read(self):
        return None

    def found(self, folder):
        valid = [each.read_text() for each in folder.glob("key-*")]
        mounted = json.loads((folder / "mounted.json").read_bytes())
        return {"used": (folder / "key").read_text(), "valid": valid, "mounted": mounted}


async def nobody():
    pass


class Gateways:
    """They use what they are given at once."""

    async def ask(self, value, question, *, urgent):  # noqa: ARG002
        return ""


def specs(issuer, admin_key, provider):
    webhook = {"preset": "LiteLLM", "url": issuer, "secretRef": {"name": "admin", "key": "token"}}
    spec = {
        "provider": "Custom",
        "endpoint": {"url": provider},
        "auth": {"type": "APIKey", "apiKey": {"secretRef": {"name": "first", "key": "token"}}},
        "rotation": {"issuer": {"type": "Webhook", "webhook": webhook}},
    }
    manifest = {"apiVersion": "moltbot.io/v1alpha1", "kind": "ModelBackend", "metadata": {"name": "a"}}
    held = Manifests()
    held.data["Secret", "default", "admin"] = {"token": admin_key.encode()}
    held.data["Secret", "default", "first"] = {"token": FIRST.encode()}
    return parse_manifest({**manifest, "spec": spec}).spec, held


async def rotate(folder, kind, policy, kill_at):
    """Until nothing is left to do; the clock is set on where there is something to wait for."""
    steps = Steps(kill_at)
    if kill_at >= 0:
        for name in CALLS:
            setattr(os, name, steps.wrap(getattr(os, name)))
    store = kind.store(folder)
    try:
        await settle(store, kind, policy, steps)
    finally:
        store.close()


async def settle(store, kind, policy, steps):
    ahead = timedelta(0)

    async def tell(_announcement):
        pass

    around = Surroundings(
        uid=store.uid,
        store=store,
        issuer=Killing(kind.issuer, steps),
        gateways=Gateways(),
        origin=kind.origin,
        keys=None,
        clock=lambda: datetime.now(UTC) + ahead,
        fresh=lambda: f"20260131-080000-{token_hex(2)}",
        tell=tell,
        steady=lambda: timedelta(seconds=time.monotonic()) + ahead,
    )
    driver = Driver(around)
    for _ in range(50):
        again = await driver.advance(policy)
        state = store.state
        done = policy.rotate_at is None or state.answered == policy.rotate_at
        if state.phase is Phase.IDLE and state.version and done and not state.attempts and not state.sweep:
            return
        assert again is not None, state
        ahead = max(ahead, again - datetime.now(UTC) + timedelta(milliseconds=1))
    raise AssertionError(f"not settled: {store.state}")


async def begin(folder, kind, *policies):
    for policy in policies:
        await rotate(folder, kind, policy, -1)


def child(run, *given):
    """Whether it came to the end, rather than being killed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(run(*given))
            code = 0
        except BaseException:  # noqa: BLE001 - it ends here in any case
            traceback.print_exc()
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def main():
    top, *issuing = sys.argv[1:]
    kind = WithIssuer(*issuing) if issuing else WithKeys()
    wish = Policy(interval=timedelta(hours=72), overlap=timedelta(0), own=not issuing)
    for kill_at in itertools.count():
        folder = Path(top, str(kill_at))
        child(begin, folder, kind, wish, replace(wish, rotate_at=datetime.now(UTC)))
        again = replace(wish, rotate_at=datetime.now(UTC))
        ended = child(rotate, folder, kind, again, kill_at)
        at = {} if issuing else kind.found(folder)
        if not ended:
            child(rotate, folder, kind, again, -1)
        names = sorted(each.name for each in folder.iterdir())
        print(json.dumps({**kind.found(folder), "names": names, "at": at}), flush=True)
        if ended:
            return


if __name__ == "__main__":
    main()
