"""The agent's small parts without an Envoy."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from datetime import timedelta
from http import HTTPStatus

import pytest
from aiohttp import web

from moltbot_agent import envoy as launcher
from moltbot_agent.admin import Admin
from moltbot_agent.attempts import BUCKETS_MS, parse, well_answered
from moltbot_agent.errors import AdminUnavailable
from moltbot_agent.evidence import authorized, fingerprint, read_token
from moltbot_agent.logs import JsonLines
from moltbot_agent.metrics import SuccessRatio
from moltbot_agent.server import Address, metrics_app, serving


@pytest.mark.parametrize(
    ("header", "let_in"),
    [
        ("Bearer token", True),
        ("bearer token", True),
        ("Bearer  token ", True),
        (None, False),
        ("", False),
        ("token", False),
        ("Bearer", False),
        ("Bearer tokem", False),
        ("Bearer tökén\udcff", False),
        ("Basic token", False),
    ],
)
def test_authorization(header, let_in):
    assert authorized(header, b"token") is let_in
    assert not authorized(header, None)


def test_token_file(tmp_path):
    assert read_token(tmp_path / "missing") is None
    (tmp_path / "token").write_text(" \n")
    assert read_token(tmp_path / "token") is None
    (tmp_path / "token").write_text("abc\n")
    assert read_token(tmp_path / "token") == b"abc"


def test_fingerprint_depends_on_value_and_token_and_shows_neither():
    prints = {fingerprint(b"t", "secret"), fingerprint(b"t", "secret2"), fingerprint(b"u", "secret")}
    assert len(prints) == 3
    assert all(len(given) == 16 and "secret" not in given for given in prints)


def test_ratio_over_the_window():
    ratio = SuccessRatio(timedelta(seconds=60))
    assert ratio.observe(0, {"a": (0, 0)}) == {}
    assert ratio.observe(10, {"a": (9, 10)}) == {"a": 0.9}
    assert ratio.observe(50, {"a": (9, 20)}) == {"a": 0.45}
    assert ratio.observe(75, {"a": (19, 30)}) == {"a": 0.5}
    assert ratio.observe(200, {"a": (19, 30)}) == {}


def test_ratio_begins_anew_when_envoy_did():
    ratio = SuccessRatio(timedelta(seconds=60))
    ratio.observe(0, {"a": (100, 100)})
    assert ratio.observe(10, {"a": (1, 2)}) == {"a": 0.5}


def test_ratio_keeps_few_observations():
    ratio = SuccessRatio(timedelta(seconds=60))
    for tick in range(10_000):
        ratio.observe(tick * 0.1, {"a": (tick, tick)})
    assert len(ratio._seen) <= 63


@pytest.mark.parametrize(
    ("code", "well"),
    [
        *[(code, True) for code in ("200", "304", "400", "404", "422")],
        *[(code, False) for code in ("401", "403", "408", "429", "500", "503", "0", "", "-", "999")],
    ],
)
def test_what_speaks_for_a_backend(code, well):
    assert well_answered(code) is well


def test_counts_of_unknown_backends_are_left_out():
    text = (
        '# TYPE envoy_moltbot_attempts counter\nenvoy_moltbot_attempts{backend="a/b.c",code="200"} 3\n'
        'envoy_moltbot_attempts{backend="b.c",code="0"} 1\n'
        'envoy_moltbot_attempts{backend="",code="200"} 9\n'
        'envoy_moltbot_attempts{backend="b.c:1",code="200"} 9\n'
        'envoy_moltbot_first_byte_bucket{backend="a/b.c",le="300"} 2\n'
        'envoy_moltbot_first_byte_bucket{backend="a/b.c",le="+Inf"} 3\n'
        'envoy_moltbot_first_byte_sum{backend="a/b.c"} 1500.5\n'
    )
    [(backend, counted)] = parse(text, ["a/b.c"], "a").items()
    assert backend == "a/b.c"
    assert (counted.codes, counted.well, counted.ended) == ({"2xx": 3, "none": 1}, 3, 4)
    assert counted.buckets == [("0.3", 2.0), ("+Inf", 3.0)]
    assert counted.seconds == pytest.approx(1.5005)


def test_parsing_a_thousand_backends_is_quick():
    names = [f"team/backend-{number}" for number in range(1000)]
    lines = []
    for name in names:
        lines += [f'envoy_moltbot_attempts{{backend="{name}",code="{code}"}} 5' for code in (200, 429, 503)]
        lines += [
            f'envoy_moltbot_first_byte_bucket{{backend="{name}",le="{bound}"}} 5' for bound in BUCKETS_MS
        ]
    began = time.process_time()
    found = parse("\n".join(lines), names, "other")
    assert found[names[-1]].ended == 15
    assert time.process_time() - began < 1


def test_exceptions_are_logged_without_their_text():
    try:
        int("the value is hunter2")
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, __file__, 1, "it failed %s", ("twice",), sys.exc_info()
        )
    record.__dict__["backend"] = "team/one"
    line = JsonLines().format(record)
    told = json.loads(line)
    assert "hunter2" not in line
    assert (told["message"], told["error"], told["backend"]) == ("it failed twice", "ValueError", "team/one")
    assert told["at"][0].endswith("test_exceptions_are_logged_without_their_text")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "6400000 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_concurrency_from_the_cgroup(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(4)))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert launcher.cpu_limit(tmp_path) == (expected or 4)


def test_launcher_becomes_envoy_once_the_bootstrap_is_there(tmp_path, monkeypatch):
    executed = []
    monkeypatch.setattr("os.execv", lambda path, arguments: executed.append((path, arguments)))
    bootstrap = tmp_path / "envoy.json"
    assert launcher.main(["--bootstrap", str(bootstrap), "--wait-s", "0"]) == 1
    assert executed == []
    bootstrap.write_text("{}")
    launcher.main(["--bootstrap", str(bootstrap), "--concurrency", "3"])
    [(path, arguments)] = executed
    assert path.name == "envoy"
    assert arguments[1:3] == ["-c", str(bootstrap)]
    assert "--reject-unknown-dynamic-fields" in arguments
    assert arguments[arguments.index("--concurrency") + 1] == "3"


def test_envoys_log_is_json(tmp_path):
    bad = tmp_path / "envoy.json"
    bad.write_text('{"unknown \\"field": 1}')
    command = [str(launcher.binary()), *launcher.arguments_for(bad, 1, "info")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert any("unknown" in line["message"] for line in lines)
    assert {"time", "level", "logger", "message"} == set(lines[0])


@pytest.mark.parametrize("path", ["/wrong", "/server_info"])
async def test_admin_that_answers_nonsense_is_unavailable(path):
    async def answer(request):
        return web.Response(text="not json") if request.path == "/server_info" else web.Response(status=404)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with serving(app, Address("127.0.0.1", 0)) as port:
        admin = Admin(port)
        with pytest.raises(AdminUnavailable):
            await asyncio.to_thread(admin.server if path == "/server_info" else admin.fail_health_check)


async def test_health_is_503_until_files_are_written(make_gateway, client):
    gateway = make_gateway()
    deliveries = gateway.deliveries()
    async with serving(metrics_app(deliveries, None), Address("127.0.0.1", 0)) as port:
        url = f"http://127.0.0.1:{port}/healthz"
        async with client.get(url) as response:
            assert response.status == HTTPStatus.SERVICE_UNAVAILABLE
        deliveries.run_once()
        async with client.get(url) as response:
            assert response.status == HTTPStatus.OK


def test_prestop_and_launcher_import_the_standard_library_only(environment):
    code = "import sys, moltbot_agent.drain, moltbot_agent.envoy; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert not {"aiohttp", "pydantic", "orjson", "prometheus_client"} & set(done.stdout.split())
