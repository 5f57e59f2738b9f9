"""What docs/jobs.openapi.yaml promises, asked for by schemathesis."""

import asyncio
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, given, settings
from listener_bed import chat, serving, until
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

FILE = Path(__file__).resolve().parents[3] / "docs" / "jobs.openapi.yaml"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def schema_of():
    return schemathesis.openapi.from_path(FILE)


def fuzzed(url, headers):
    """Generated requests of every operation."""
    schema = schema_of()
    asked = []
    for operation in (each.ok() for each in schema.get_all_operations()):
        strategy = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)

        @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def ask(case):
            asked.append(case.method)
            case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)

        ask()
    return asked


def validated(url, headers, method, identity):
    """One known job."""
    operation = schema_of()["/v1/jobs/{id}"][method]
    case = operation.Case(path_parameters={"id": identity})
    return case.call_and_validate(base_url=url, headers=headers, checks=CHECKS).status_code


async def test_every_operation_keeps_to_the_published_file(tmp_path):
    (tmp_path / "hook").write_text("secret")
    jobs = {"webhook_key": str(tmp_path / "hook"), "webhook_hosts": ["nowhere.invalid"]}
    async with serving(tmp_path, {"async": {}}, jobs=jobs, limits={"drain": 0.5}) as bed:
        asked = await asyncio.to_thread(fuzzed, bed.url, bed.headers())
        assert set(asked) == {"GET", "POST", "DELETE"}


async def test_a_job_keeps_to_the_published_file_in_every_state(tmp_path):
    async with serving(tmp_path, {"async": {}}, limits={"drain": 0.5}) as bed:
        bed.listener.gate.clear()
        _, headers, _ = await bed.ask(chat())
        identity = headers["x-moltbot-job"]
        own = bed.headers()
        assert await asyncio.to_thread(validated, bed.url, own, "GET", identity) == 200
        bed.listener.gate.set()
        await until(lambda: bed.calls() == 1, "the call")
        assert await asyncio.to_thread(validated, bed.url, own, "GET", identity) == 200
        other = bed.headers("other")
        assert await asyncio.to_thread(validated, bed.url, other, "GET", identity) == 404
        assert await asyncio.to_thread(validated, bed.url, own, "DELETE", identity) == 200
        assert await asyncio.to_thread(validated, bed.url, own, "DELETE", identity) == 404
