"""Files that can't be what they are given as: each command ends with a line that names the file, at once."""

import os
import stat

import pytest
from typer.testing import CliRunner

from moltbot_operator.cli import app
from moltbot_operator.errors import InvalidInput, MoltBotError
from moltbot_operator.inputs import LARGEST, read_text
from moltbot_operator.serve.files import read

BACKEND = """\
apiVersion: moltbot.io/v1alpha1
kind: ModelBackend
metadata: {name: b}
spec:
  provider: Custom
  endpoint: {url: "http://127.0.0.1:9"}
"""
NONSENSE = {
    "a program.yaml": b"\x7fELF\x02\x01\x01" + bytes(range(256)),
    "zeros.yaml": bytes(4096),
    "utf-16.yaml": "a: b".encode("utf-16"),
    "deep.yaml": b"[" * 2000,
    "deep.json": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "digits.yaml": f"{BACKEND}  limits: {{requestsPerSecond: {'9' * 5000}}}\n".encode(),
    "digits.json": b"9" * 5000,
    "a date.yaml": b"a: !!timestamp 2020-13-45\n",
    "no number.yaml": b"a: !!int ''\n",
    "a call.yaml": b"a: !!python/object/apply:os.abort []\n",
    "bomb.yaml": b"a: &a [x]\n"
    + b"".join(b"%c: &%c [%b]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in b"bcdefghijkl"),
    "itself.yaml": b"&a\nkind: *a\n",
    "inside itself.yaml": f"{BACKEND}  auth: &x {{none: *x}}\n".encode(),
    "large.yaml": b"a: " + b"x" * LARGEST,
}
COMMANDS = {
    "check": ["check", "--no-envoy"],
    "plan": ["plan", "--against", "nothing.yaml"],
    "explain": ["explain", "--path", "/v1/chat/completions"],
    "drill": ["drill", "--backend", "b"],
    "convert": ["convert", "-o", "-"],
    "convert back": ["convert", "--back", "-o", "-"],
    "serve": ["serve", "--no-view", "-p", "0", "--metrics-port", "0"],
}


def told(command, file):
    """Exit code and everything that the command said of the file."""
    done = CliRunner().invoke(app, [*COMMANDS[command], str(file)])
    assert isinstance(done.exception, SystemExit | MoltBotError), done.exception
    code = done.exit_code if isinstance(done.exception, SystemExit) else 1
    return code, done.output + str(done.exception)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_told_with_the_name_of_its_file(tmp_path, monkeypatch, name, command):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / name
    file.write_bytes(NONSENSE[name])
    code, said = told(command, file)
    assert code == 1
    assert str(file) in said
    assert "set_int_max_str_digits" not in said


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["missing", "loop", "pipe without a writer", "endless"])
def test_what_is_no_file_is_told_at_once(tmp_path, monkeypatch, kind, command):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "in.yaml"
    match kind:
        case "loop":
            file.symlink_to(file)
        case "pipe without a writer":
            os.mkfifo(file)
        case "endless":
            file.symlink_to("/dev/zero")
    code, said = told(command, file)
    assert code == 1
    assert str(file) in said or kind == "pipe without a writer"  # which is like an empty file


def test_a_pipe_that_is_written_to_is_read():
    reading, writing = os.pipe()
    os.write(writing, BACKEND.encode())
    os.close(writing)
    try:
        assert read_text(f"/dev/fd/{reading}") == BACKEND
    finally:
        os.close(reading)


def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_the_text(tmp_path):
    file = tmp_path / "in.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + BACKEND.replace("\n", "\r\n").encode())
    assert read_text(file) == BACKEND


def test_a_folder_that_may_not_be_read_is_told(tmp_path):
    who = os.geteuid()
    tmp_path.chmod(0)
    try:
        if who == 0:  # who reads everything
            os.seteuid(65534)
        with pytest.raises(InvalidInput, match="can't be read: Permission denied"):
            read([tmp_path])
    finally:
        os.seteuid(who)
        tmp_path.chmod(stat.S_IRWXU)
