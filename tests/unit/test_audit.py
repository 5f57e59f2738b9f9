import json

from typer.testing import CliRunner

from moltbot_operator.audit import calls
from moltbot_operator.cli import app


def call(request="r", attempts=1, **more):
    fields = {"backend": "b", "status": 200, "flags": "-", "duration_ms": 7, "attempts": attempts}
    return json.dumps({"record": "call", "request_id": request, **fields, **more})


def attempt(backend, request="r", **more):
    fields = {"backend": backend, "status": 503, "flags": "-", "duration_ms": 3}
    return json.dumps({"record": "attempt", "request_id": request, **fields, **more})


def tried(lines):
    return [[(each["backend"], each["status"]) for each in found["tries"]] for found in calls(lines)]


def test_the_last_attempt_is_the_calls_own_if_it_went_well():
    assert tried([attempt("a"), call(attempts=2)]) == [[("a", 503), ("b", 200)]]
    assert tried([call()]) == [[("b", 200)]]


def test_a_last_attempt_that_failed_has_a_record_of_its_own():
    assert tried([attempt("a"), attempt("b"), call(attempts=2, status=503)]) == [[("a", 503), ("b", 503)]]


def test_calls_that_asked_nobody_have_no_tries():
    assert tried([call(attempts=0), call(attempts=None)]) == [[], []]


def test_calls_are_told_apart_and_may_overlap():
    lines = [attempt("a", "one"), attempt("c", "two"), call("two", 2), call("one", 2)]
    assert tried(lines) == [[("c", 503), ("b", 200)], [("a", 503), ("b", 200)]]


def test_the_same_id_again_is_another_call():
    assert tried([attempt("a"), call(attempts=2), call()]) == [[("a", 503), ("b", 200)], [("b", 200)]]


def test_the_time_of_a_last_attempt_is_not_known():
    (found,) = calls([attempt("a"), call(attempts=2)])
    assert [each["duration_ms"] for each in found["tries"]] == [3, None]
    (found,) = calls([call()])
    assert [each["duration_ms"] for each in found["tries"]] == [7]


def test_other_lines_are_left_out():
    others = ["", "text", "{broken", '{"level":"warning","message":"x"}', '["record"]']
    assert list(calls(others)) == []


def test_the_command_reads_standard_input_and_files(tmp_path):
    text = f"{attempt('a')}\n{call(attempts=2)}\n"
    log = tmp_path / "log"
    log.write_text(text)
    piped, read = CliRunner().invoke(app, ["audit"], input=text), CliRunner().invoke(app, ["audit", str(log)])
    assert piped.exit_code == read.exit_code == 0
    assert [each["backend"] for each in json.loads(piped.output)["tries"]] == ["a", "b"]
    assert read.output == piped.output
