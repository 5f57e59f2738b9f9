"""What a server keeps on disk, and what the next one cleans."""

import json
import os
import subprocess
import sys

import pytest

from moltbot_operator.errors import InvalidInput
from moltbot_operator.serve.state import Home, default_state, started, write_whole


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return lambda port=8080: Home(tmp_path / "state", "127.0.0.1", port)


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def killed(home, *children):
    """As a server leaves things that was killed."""
    folder = home.folder
    folder.mkdir(parents=True)
    home.run.mkdir()
    (home.run / "0001").mkdir()
    listed = [{"what": "Envoy", "pid": pid, "started": begun} for pid, begun in children]
    record = {"server": {"pid": 1, "what": "", "started": ""}, "run": str(home.run), "children": listed}
    (folder / "record.json").write_text(json.dumps(record))


def test_nothing_is_left_after_an_orderly_end(home):
    held = home()
    with held.held() as cleaned:
        assert cleaned == []
        assert held.run.stat().st_mode & 0o777 == 0o700
        held.describe(revision="abc")
        assert json.loads((held.folder / "record.json").read_text())["details"] == {"revision": "abc"}
    assert not held.run.exists()
    assert names(held.folder) == ["lock"]


def test_a_secret_of_an_address_stays_and_is_the_owners(home):
    with home().held():
        first = home().secret("workers")
        assert len(first) > 30
        assert home().secret("workers") == first
        assert (home().folder / "workers.secret").stat().st_mode & 0o777 == 0o600
    with home(8081).held():
        assert home(8081).secret("workers") != first


def test_children_and_folder_of_a_killed_server_are_ended_and_removed(home, sleeper):
    left = home()
    killed(left, (sleeper.pid, started(sleeper.pid)))
    with left.held() as cleaned:
        assert sleeper.wait(10) == -9
        assert cleaned == [f"Envoy, process {sleeper.pid}", f"folder {left.run}"]
        assert names(left.run) == []


@pytest.mark.parametrize("begun", ["", "another-boot 1"])
def test_a_process_with_the_same_id_that_began_at_another_time_is_left_alone(home, sleeper, begun):
    left = home()
    killed(left, (sleeper.pid, begun), (2**22 + 1, "x"))
    with left.held() as cleaned:
        assert cleaned == [f"folder {left.run}"]
    assert sleeper.poll() is None


def test_children_on_record_are_those_that_live(home, sleeper):
    held = home()
    with held.held():
        held.add("agent", 2**22 + 1)
        held.add("Envoy", sleeper.pid)
        record = json.loads((held.folder / "record.json").read_text())
        assert record["children"][-1] == {
            "what": "Envoy", "pid": sleeper.pid, "started": started(sleeper.pid)
        }  # fmt: skip
        held.add("Envoy", os.getpid())
        record = json.loads((held.folder / "record.json").read_text())
        assert [each["pid"] for each in record["children"]] == [sleeper.pid, os.getpid()]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"server": 1'])
def test_a_record_that_can_not_be_read_stops_nobody(home, content):
    held = home()
    held.folder.mkdir(parents=True)
    (held.folder / "record.json").write_text(content)
    with held.held() as cleaned:
        assert cleaned == []


def test_two_servers_of_one_address_do_not_run_at_once(home):
    with home().held(), pytest.raises(InvalidInput, match=r"serves 127\.0\.0\.1:8080 already"), home().held():
        pass
    with home().held(), home(8081).held():
        pass


def test_what_somebody_else_put_in_place_of_the_folder_is_not_removed(home, tmp_path):
    held = home()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    held.run.symlink_to(precious)
    with pytest.raises(InvalidInput, match="can't be made"), held.held():
        pass
    assert (precious / "file").exists()


def test_a_state_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="--state"), Home(tmp_path / "file", "127.0.0.1", 1).held():
        pass


def test_a_write_that_fails_leaves_the_old_content_and_no_rest(tmp_path, monkeypatch):
    file = tmp_path / "a"
    write_whole(file, b"old")
    assert file.stat().st_mode & 0o777 == 0o600

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_the_state_folder_is_the_services_else_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert default_state() == tmp_path / "moltbot" / "serve"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/moltbot")
    assert str(default_state()) == "/var/lib/moltbot/serve"
