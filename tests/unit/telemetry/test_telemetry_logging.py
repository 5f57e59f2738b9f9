import io
import json
import logging
import warnings

import pytest
import structlog

from moltbot_operator.telemetry.logging import configure


@pytest.fixture
def lines():
    """Configures logging into a buffer; what was logged, as parsed lines."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure("info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before[0], before[1]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_our_lines_are_json_objects(lines):
    structlog.get_logger("moltbot_operator.x").warning("reconcile failed", key="Route a/b", error="no\nluck")
    (line,) = lines()
    assert line["message"] == "reconcile failed"
    assert (line["key"], line["error"], line["level"]) == ("Route a/b", "no\nluck", "warning")
    assert line["logger"] == "moltbot_operator.x"
    assert line["timestamp"].endswith("Z")


def test_lines_of_libraries_look_the_same(lines):
    logging.getLogger("kubernetes.aio").error("call %s failed", "x")
    logging.getLogger("kopf.y").warning(
        "odd", extra={"k8s_ref": {"kind": "Pod", "namespace": "a", "name": "b"}}
    )
    first, second = lines()
    assert (first["message"], first["level"], first["logger"]) == ("call x failed", "error", "kubernetes.aio")
    assert second["object"] == "Pod a/b"


def test_an_exception_has_its_frames_but_no_local_variables(lines):
    def fails():
        password = "hunter2"
        raise ValueError(len(password))

    try:
        fails()
    except ValueError:
        structlog.get_logger("x").exception("crashed", key="k")
    (line,) = lines()
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert [frame["name"] for frame in line["exception"][0]["frames"]][-1] == "fails"
    assert "hunter2" not in json.dumps(line)


def test_what_drowns_the_rest_is_left_out(lines):
    logging.getLogger("kopf.objects").info("Handler succeeded.")
    logging.getLogger("kopf.objects").error("Handler failed.")
    structlog.get_logger("x").debug("detail")
    assert [line["message"] for line in lines()] == ["Handler failed."]


def test_anything_can_be_logged(lines):
    structlog.get_logger("x").info("odd", value={1, 2}.__class__, number=2**100)
    assert lines()[0]["message"] == "odd"


def test_python_s_own_warnings_come_the_same_way(lines):
    warnings.warn("old way", DeprecationWarning, stacklevel=1)
    assert any("old way" in line["message"] for line in lines())
