import json
from pathlib import Path

import pytest

from moltbot_agent import deliveries as module
from moltbot_agent.files import write_if_different


def secret_of(path) -> str | None:
    resources = json.loads(path.read_bytes())["resources"]
    return resources[0]["generic_secret"]["secret"]["inline_string"] or None


def keys_of(path) -> dict[str, str]:
    [resource] = json.loads(path.read_bytes())["resources"]
    return {item["key"]: item["client"] for item in resource["typed_config"]["credentials"]}


def stamps(folder) -> dict:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.fixture
def gateway(make_gateway):
    given = make_gateway({"one": 1, "two": 2}, consumers=("web", "batch"))
    given.secret("consumers/web", {"a": "key-a"})
    given.secret("consumers/batch", {"b": "key-b"})
    return given


@pytest.fixture
def run(gateway):
    return gateway.folder / "run"


def test_all_files_with_owner_only_modes(gateway, run):
    delivered = gateway.deliveries()
    delivered.run_once()
    assert delivered.ready
    assert delivered.problems == []
    assert {path.name for path in run.iterdir()} == {"one.json", "two.json", "consumers.json", "envoy.json"}
    assert {oct(path.stat().st_mode & 0o777) for path in run.iterdir()} == {"0o600"}
    resource = json.loads((run / "one.json").read_bytes())["resources"][0]
    assert resource["name"] == "credential/one"
    assert secret_of(run / "one.json") == "Bearer key-of-one"
    assert keys_of(run / "consumers.json") == {"key-a": "web", "key-b": "batch"}
    assert json.loads((run / "envoy.json").read_bytes())["node"]["metadata"]["revision"] == "abcdef0123"


def test_unchanged_sources_and_a_second_agent_write_nothing(gateway, run):
    first = gateway.deliveries()
    first.run_once()
    before = stamps(run)
    first.run_once()
    again = gateway.deliveries()
    again.run_once()
    assert stamps(run) == before
    assert (first.writes, again.writes) == (4, 0)
    assert again.ready
    assert all(state.value for state in again.credentials)


def test_only_what_changed_is_rewritten(gateway, run):
    delivered = gateway.deliveries()
    delivered.run_once()
    before = stamps(run)
    gateway.secret("credentials/two", {"token": "new"})
    delivered.run_once()
    after = stamps(run)
    assert secret_of(run / "two.json") == "Bearer new"
    assert {name for name in after if after[name] != before[name]} == {"two.json"}


@pytest.mark.parametrize("data", [{}, {"token": ""}, {"token": "sec\nret"}, {"other": "x"}])
def test_credential_that_turns_unusable_stays_in_use_and_is_reported(gateway, run, data):
    delivered = gateway.deliveries()
    delivered.run_once()
    gateway.secret("credentials/one", data)
    delivered.run_once()
    assert secret_of(run / "one.json") == "Bearer key-of-one"
    [problem] = delivered.problems
    assert "team/one" in problem
    assert "stays in use" in problem
    assert "ret" not in problem.replace("Secret", "")
    gateway.secret("credentials/one", {"token": "again"})
    delivered.run_once()
    assert secret_of(run / "one.json") == "Bearer again"
    assert delivered.problems == []


def test_credential_unusable_from_the_start_gives_an_empty_resource(gateway, run):
    gateway.secret("credentials/one", {"token": "two\nlines"})
    delivered = gateway.deliveries()
    delivered.run_once()
    assert secret_of(run / "one.json") is None
    assert "lines" not in (run / "one.json").read_text()
    assert secret_of(run / "two.json") == "Bearer key-of-two"
    assert delivered.ready
    assert [state.value is not None for state in delivered.credentials] == [False, True]


def test_key_of_two_consumers_stays_with_the_first(gateway, run):
    gateway.secret("consumers/batch", {"b": "key-a\n", "c": "key-c"})
    delivered = gateway.deliveries()
    delivered.run_once()
    assert keys_of(run / "consumers.json") == {"key-a": "web", "key-c": "batch"}
    [problem] = delivered.problems
    assert "consumer batch" in problem
    assert "consumer web" in problem
    assert "key-a" not in problem


def test_same_key_twice_in_one_consumer_is_no_problem(gateway, run):
    gateway.secret("consumers/web", {"a": "key-a", "copy": "key-a"})
    delivered = gateway.deliveries()
    delivered.run_once()
    assert delivered.problems == []
    assert keys_of(run / "consumers.json") == {"key-a": "web", "key-b": "batch"}


@pytest.mark.parametrize(
    ("data", "told"),
    [({}, "no key in"), ({"a": "x\ny"}, "more than one line"), ({"a": ""}, "is empty")],
)
def test_consumer_without_a_usable_key_is_locked_out_alone(gateway, run, data, told):
    delivered = gateway.deliveries()
    delivered.run_once()
    gateway.secret("consumers/web", data)
    delivered.run_once()
    assert keys_of(run / "consumers.json") == {"key-b": "batch"}
    [problem] = delivered.problems
    assert "consumer web" in problem
    assert told in problem


def test_consumer_whose_secret_is_missing(gateway, run):
    for path in sorted(gateway.keys("web").iterdir(), reverse=True):
        path.unlink() if path.is_symlink() else None
    gateway.keys("web").rename(gateway.folder / "moved")
    delivered = gateway.deliveries()
    delivered.run_once()
    assert keys_of(run / "consumers.json") == {"key-b": "batch"}
    assert "does not exist" in delivered.problems[0]


def test_swap_in_the_middle_of_reading_takes_nobodys_key(gateway, run, monkeypatch):
    delivered = gateway.deliveries()
    delivered.run_once()
    real = module.consumers_resource

    def swapped(_consumers):
        monkeypatch.setattr(module, "consumers_resource", real)
        gateway.secret("consumers/web", {"a": "key-a", "c": "key-c"})
        return b"half of it", ["a problem that is not one"], {}

    monkeypatch.setattr(module, "consumers_resource", swapped)
    gateway.secret("consumers/web", {"a": "key-a", "b": "key-x"})
    delivered.run_once()
    assert keys_of(run / "consumers.json") == {"key-a": "web", "key-b": "batch"}
    assert delivered.problems == []
    delivered.run_once()
    assert keys_of(run / "consumers.json") == {"key-a": "web", "key-c": "web", "key-b": "batch"}


def test_unreadable_sources_keep_what_is_there_and_are_tried_again(gateway, run, monkeypatch):
    delivered = gateway.deliveries()
    delivered.run_once()
    before = stamps(run)

    def broken(_path):
        raise PermissionError(13, "Permission denied", "/etc/x")

    gateway.secret("credentials/one", {"token": "new"})
    gateway.secret("consumers/web", {"a": "new-key"})
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_value", broken)
        patch.setattr(module, "read_folder", broken)
        delivered.run_once()
        delivered.run_once()
        assert stamps(run) == before
        assert len(delivered.problems) == 2
        assert all("Permission denied" in problem for problem in delivered.problems)
    delivered.run_once()
    assert delivered.problems == []
    assert secret_of(run / "one.json") == "Bearer new"
    assert keys_of(run / "consumers.json") == {"new-key": "web", "key-b": "batch"}


def test_sources_unreadable_from_the_start_do_not_keep_envoy_from_starting(gateway, run, monkeypatch):
    delivered = gateway.deliveries()

    def broken(_path):
        raise PermissionError(13, "Permission denied", "/etc/x")

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_value", broken)
        patch.setattr(module, "read_folder", broken)
        delivered.run_once()
        assert delivered.ready
        assert secret_of(run / "one.json") is None
        assert keys_of(run / "consumers.json") == {}
    delivered.run_once()
    assert delivered.problems == []
    assert secret_of(run / "one.json") == "Bearer key-of-one"
    assert keys_of(run / "consumers.json") == {"key-a": "web", "key-b": "batch"}


def test_failed_write_is_retried_and_holds_the_bootstrap_back(gateway, run, monkeypatch):
    delivered = gateway.deliveries()
    refused = {"one.json", "consumers.json"}

    def full(path, content):
        if path.name in refused:
            raise OSError(28, "No space left on device")
        return write_if_different(path, content)

    monkeypatch.setattr(module, "write_if_different", full)
    delivered.run_once()
    assert not delivered.ready
    assert not (run / "envoy.json").exists()
    assert delivered.write_failures == 2
    assert all("No space left" in problem for problem in delivered.problems)
    refused.clear()
    delivered.run_once()
    assert delivered.ready
    assert delivered.problems == []
    assert delivered.writes == 4


def test_failed_rewrite_keeps_the_old_file_until_it_works(gateway, run, monkeypatch):
    delivered = gateway.deliveries()
    delivered.run_once()
    gateway.secret("credentials/one", {"token": "new"})
    with monkeypatch.context() as patch:

        def full(_path, _content):
            raise OSError(28, "No space left on device")

        patch.setattr(module, "write_if_different", full)
        delivered.run_once()
        assert secret_of(run / "one.json") == "Bearer key-of-one"
        assert delivered.credentials[0].value == "key-of-one"
    delivered.run_once()
    assert secret_of(run / "one.json") == "Bearer new"


def test_key_whose_link_comes_after_the_swap_is_found(gateway, run):
    """The kubelet swaps `..data` first and adds links for new keys afterwards."""
    gateway.secret("credentials/one", {})
    delivered = gateway.deliveries()
    delivered.run_once()
    folder = gateway.folder / "credentials" / "one"
    (folder / "..data" / "token").write_text("late")
    delivered.run_once()
    assert delivered.credentials[0].value is None
    (folder / "token").symlink_to("..data/token")
    delivered.run_once()
    assert secret_of(run / "one.json") == "Bearer late"
    assert delivered.problems == []


def project(volume: Path, version: str, files: dict[str, str]) -> None:
    """A projected volume: `<folder>` is a link below `..data`, so no folder has a `..data` of its own."""
    for name, content in files.items():
        path = volume / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        link = volume / path.parent.name
        if not link.is_symlink():
            link.symlink_to(f"..data/{path.parent.name}")
    (volume / "..data_tmp").symlink_to(version)
    (volume / "..data_tmp").replace(volume / "..data")


def test_credentials_in_one_projected_volume(gateway, run, tmp_path):
    volume = tmp_path / "projected"
    project(volume, "..1", {"one/token": "first", "two/token": "other"})
    credentials = tuple(
        credential.model_copy(update={"source": volume / name / "token"})
        for name, credential in zip(("one", "two"), gateway.config.credentials, strict=True)
    )
    delivered = module.Deliveries(gateway.config.model_copy(update={"credentials": credentials}), {})
    delivered.run_once()
    assert (secret_of(run / "one.json"), secret_of(run / "two.json")) == ("Bearer first", "Bearer other")
    before = stamps(run)
    project(volume, "..2", {"one/token": "secnd", "two/token": "other"})
    delivered.run_once()
    assert (secret_of(run / "one.json"), secret_of(run / "two.json")) == ("Bearer secnd", "Bearer other")
    after = stamps(run)
    assert {name for name in after if after[name] != before[name]} == {"one.json"}


def test_state_does_not_show_its_value(gateway):
    delivered = gateway.deliveries()
    delivered.run_once()
    assert "key-of-one" not in repr(delivered.credentials)
