"""`moltbot service`: what the system is told, and that it can be untold."""

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from moltbot_operator import cli
from moltbot_operator.errors import InvalidInput
from moltbot_operator.service.launchd import plist
from moltbot_operator.service.registry import place
from moltbot_operator.service.systemd import quoted, unit
from moltbot_operator.service.wanted import Service, config_folder

MANIFESTS = [
    {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "MoltBotRoute",
        "metadata": {"name": "r"},
        "spec": {"rules": [{"name": "all", "candidates": [{"backend": "a"}]}]},
    },
    {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "ModelBackend",
        "metadata": {"name": "a"},
        "spec": {"provider": "Custom", "endpoint": {"url": "http://a.example"}},
    },
]


def service(*, system=False, port=8080, command=("/bin/true", "serve", "/etc/moltbot")):
    return Service("moltbot", tuple(command), system, "daemon" if system else None, port)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("port", [443, 8080])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path, system, port):
    file = tmp_path / "moltbot.service"
    file.write_text(unit(service(system=system, port=port)))
    found = subprocess.run(
        ["systemd-analyze", *([] if system else ["--user"]), "verify", "--man=no", str(file)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    complaints = [line for line in found.stderr.splitlines() if "moltbot.service" in line]
    assert complaints == [], found.stderr


def test_only_low_ports_get_the_capability_for_them():
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit(service(system=True, port=443))
    assert "CAP_NET_BIND_SERVICE" not in unit(service(system=True, port=8080))
    assert "User=daemon" in unit(service(system=True))
    assert "User=" not in unit(service())


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/a/b", "/a/b"),
        ("--endpoint=m=http://h/v1?a=b", "--endpoint=m=http://h/v1?a=b"),
        ("/a b", '"/a b"'),
        ("50%", '"50%%"'),
        ("$HOME", '"$$HOME"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("", '""'),
    ],
)
def test_an_argument_stays_one_argument(word, written):
    assert quoted(word) == written


def test_the_property_list_is_read_back_as_written(tmp_path):
    found = plistlib.loads(plist(service(command=("/a b/moltbot", "serve")), tmp_path, "/bin").encode())
    assert found["ProgramArguments"] == ["/a b/moltbot", "serve"]
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["EnvironmentVariables"] == {"PATH": "/bin"}
    assert "UserName" not in found
    daemon = plistlib.loads(plist(service(system=True), tmp_path, "/bin").encode())
    assert daemon["UserName"] == "daemon"


@pytest.mark.parametrize(
    ("platform", "system", "file"),
    [
        ("darwin", False, "/home/u/Library/LaunchAgents/io.moltbot.moltbot.plist"),
        ("darwin", True, "/Library/LaunchDaemons/io.moltbot.moltbot.plist"),
        ("linux", False, "/home/u/.config/systemd/user/moltbot.service"),
        ("linux", True, "/etc/systemd/system/moltbot.service"),
    ],
)
def test_the_file_is_where_the_systems_manager_looks(monkeypatch, platform, system, file):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert str(place(service(system=system), Path("/home/u"), platform).file) == file


def test_another_system_is_named():
    with pytest.raises(InvalidInput, match="win32"):
        place(service(), Path("/home/u"), "win32")


def test_manifests_are_looked_for_in_the_configuration_folder():
    assert config_folder(system=True, home=Path("/h")) == Path("/etc/moltbot")
    assert config_folder(system=False, home=Path("/h")) == Path("/h/.config/moltbot")
    assert config_folder(system=False, home=Path("/h"), config_home="/c") == Path("/c/moltbot")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A home folder, and a systemctl that writes down what it is told and keeps what is active."""
    home, programs = tmp_path / "home", tmp_path / "bin"
    programs.mkdir()
    (home / ".config" / "moltbot").mkdir(parents=True)
    (home / ".config" / "moltbot" / "all.yaml").write_text(yaml.safe_dump_all(MANIFESTS))
    told, active = tmp_path / "told", tmp_path / "active"
    told.touch()
    control = programs / "systemctl"
    control.write_text(
        f'#!/bin/sh\necho "$*" >>{told}\ncase "$*" in\n'
        f"*restart*) touch {active} ;;\n*disable*) rm -f {active} ;;\n"
        f"*is-active*) test -e {active} ;;\nesac\n"
    )
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home, told, control


@pytest.fixture
def moltbot(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["moltbot", "service", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


@pytest.mark.skipif(sys.platform != "linux", reason="systemd's side")
def test_it_is_installed_once_seen_and_removed(machine, moltbot):
    home, told, _ = machine
    file = home / ".config" / "systemd" / "user" / "moltbot.service"
    assert moltbot("status")[:2] == (1, f"{file}: not installed\n")
    code, out, _ = moltbot("install", "-p", "8123")
    assert code == 0
    assert out.splitlines() == [
        f"{file}: written, started",
        "base_url http://127.0.0.1:8123/v1",
        "undo it with: moltbot service uninstall --name moltbot",
    ]
    assert f"serve {home}/.config/moltbot --address=127.0.0.1 --port=8123" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert told.read_text().splitlines()[-3:] == [
        "--user daemon-reload", "--user enable moltbot.service", "--user restart moltbot.service"
    ]  # fmt: skip
    assert moltbot("install", "-p", "8123")[1].startswith(f"{file}: unchanged")
    assert moltbot("status")[:2] == (0, f"{file}: running\n")
    assert moltbot("uninstall")[:2] == (0, f"{file}: removed\n")
    assert not file.exists()
    assert moltbot("uninstall")[:2] == (0, f"{file}: was not there\n")
    assert moltbot("status")[0] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="systemd's side")
def test_print_shows_the_unit_and_changes_nothing(machine, moltbot):
    home, told, _ = machine
    code, out, _ = moltbot(
        "install", "--print", "--system", "--run-as", "somebody", "/etc/m.yaml", "--route", "r"
    )
    assert code == 0
    assert "User=somebody" in out
    assert "serve /etc/m.yaml" in out
    assert "--route=r" in out
    assert told.read_text() == ""
    assert not (home / ".config" / "systemd").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="systemd's side")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent.yaml",), "absent.yaml: there is no such file or folder: correct its name"),
        (("--system", "--run-as", "no-such-account"), "there is no"),
    ],
)
def test_what_would_only_fail_later_is_said_at_once(machine, moltbot, arguments, said):
    code, _, err = moltbot("install", *arguments)
    assert code == 1
    assert said in err
    assert "Traceback" not in err
    assert machine[1].read_text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="systemd's side")
def test_a_manager_that_refuses_is_quoted(machine, moltbot):
    machine[2].write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    code, _, err = moltbot("install")
    assert code == 1
    assert "Failed to connect to bus" in err
    assert "--no-start" in err


@pytest.mark.parametrize("command", [(), ("install",), ("uninstall",), ("status",)])
def test_each_command_explains_itself(moltbot, command):
    code, out, _ = moltbot(*command, "--help")
    assert code == 0
    assert "Usage" in out
