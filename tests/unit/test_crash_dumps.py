"""What is printed of a program that crashed: no object shows the credential that it holds."""

import dataclasses
import importlib
import io
import json
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import moltbot_agent
import moltbot_operator
import moltbot_worker
from moltbot_agent.oauth2 import Grant, TokenRequest
from moltbot_agent.sources import KeyFile
from moltbot_agent.tokens import Token
from moltbot_operator.providers.issuers.calls import Answer, Request
from moltbot_operator.rotation import Credential

SECRET = "s3cret-that-nobody-may-see"

HOLDS = re.compile(
    r"(^|_)(token|password|pem|private|kept|authorization|headers)$|^(value|body)$", re.IGNORECASE
)
"""Names of fields that may hold a credential, where their type can."""

TEXTUAL = re.compile(r"\b(str|bytes|Headers)\b")

HARMLESS = {
    "moltbot_operator.api.presets.HealthCall": "a provider's public call",
    "moltbot_operator.compile.answers.Answer": "an error that everybody may read",
    "moltbot_operator.compile.patterns.PathCondition": "a path of a spec",
    "moltbot_operator.compile.patterns.HeaderCondition": "a header of a spec",
    "moltbot_operator.compile.sources.WorkerFiles": "paths",
    "moltbot_operator.explain.request.Request": "what a person wrote on the command line",
    "moltbot_operator.jwks_http._Known": "public keys",
    "moltbot_operator.providers.outbound.Answer": "what metrics and gates answer",
    "moltbot_operator.rotation.state.Mounted": "names of versions",
    "moltbot_worker.aggregating._Said": "an answer of a model",
    "moltbot_worker.exchange.Answer": "an answer of a model",
    "moltbot_worker.kept.Kept": "an answer of a model",
}
"""Fields of such a name that hold none, and why."""


def classes() -> Iterator[type]:
    for root in (moltbot_operator, moltbot_agent, moltbot_worker):
        for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if found.name.endswith("__main__"):
                continue
            module = importlib.import_module(found.name)
            for each in vars(module).values():
                if (
                    isinstance(each, type)
                    and each.__module__ == found.name
                    and dataclasses.is_dataclass(each)
                ):
                    yield each


def test_fields_that_may_hold_a_credential_are_not_shown() -> None:
    shown = {
        f"{each.__module__}.{each.__qualname__}": field.name
        for each in classes()
        for field in dataclasses.fields(each)  # type: ignore[arg-type]
        if field.repr and HOLDS.search(field.name) and TEXTUAL.search(str(field.type))
    }
    assert shown.keys() - HARMLESS.keys() == set(), f"write field(repr=False): {shown}"
    assert HARMLESS.keys() - shown.keys() == set(), "no longer there"


@pytest.mark.parametrize(
    "held",
    [
        Credential("id-1", "moltbot-uid-v1", SECRET, {"registration_access_token": SECRET}),
        Request("POST", "https://issuer.example/keys", {"authorization": SECRET}, SECRET.encode()),
        Answer(200, {"set-cookie": SECRET}, SECRET.encode()),
        TokenRequest({"authorization": SECRET}, SECRET.encode()),
        Grant(SECRET, 60.0),
        KeyFile("key", SECRET),
        Token(SECRET, 0.0, 1.0, 0.5, "digest", 0.0),
    ],
    ids=lambda held: f"{type(held).__module__}.{type(held).__name__}",
)
def test_what_holds_a_credential_does_not_show_it(held: object) -> None:
    for text in (repr(held), str(held), f"{[held]}", f"{ {'x': held} }"):
        assert SECRET not in text
        assert type(held).__name__ in text


def test_a_process_that_is_aborted_leaves_no_image_of_its_memory(tmp_path: Path) -> None:
    program = """
import os, resource
from moltbot_operator.telemetry.crashes import leave_no_core
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
leave_no_core()
print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)
os.abort()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == -signal.SIGABRT
    assert done.stdout == b"(0, 0)\n"
    assert list(tmp_path.iterdir()) == []


def crash(credential: Credential) -> None:
    copied = credential.value  # a local variable of the frame that fails
    raise RuntimeError(f"something went wrong with {credential}, of length {len(copied)}")


def test_a_traceback_in_the_operators_log_shows_no_variable(operator_log: io.StringIO) -> None:
    try:
        crash(Credential("id-1", "tag", SECRET, {"answer": SECRET}))
    except RuntimeError:
        structlog.get_logger("test").exception("rotation crashed")
    written = json.loads(operator_log.getvalue())
    assert Path(__file__).name in operator_log.getvalue(), "the frame is there"
    assert written["message"] == "rotation crashed"
    assert SECRET not in operator_log.getvalue()
