import gzip
import os

import orjson
import pytest

from moltbot_agent.config import pack, unpack
from moltbot_agent.errors import ConfigUnreadable
from moltbot_agent.files import read_config, write_if_different


def test_parts_round_trip_and_are_deterministic(make_gateway):
    gateway = make_gateway()
    parts = pack(gateway.config, gateway.bootstrap, part_bytes=300)
    assert parts == pack(gateway.config, gateway.bootstrap, part_bytes=300)
    assert len(parts) > 2
    assert max(map(len, parts)) <= 300
    assert unpack(parts) == (gateway.config, gateway.bootstrap)


def test_config_is_read_from_all_parts_in_order(make_gateway):
    gateway = make_gateway()
    gateway.write_parts()
    folder = gateway.folder / "config"
    (folder / "..data").mkdir()
    assert len(list(folder.glob("part-*"))) > 1
    assert read_config(folder) == (gateway.config, gateway.bootstrap)


@pytest.mark.parametrize("parts", [{}, {"part-000": b"no gzip"}, {"part-000": gzip.compress(b"{")}])
def test_unreadable_config_names_folder_and_remedy(tmp_path, parts):
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigUnreadable, match=str(tmp_path)):
        read_config(tmp_path)


def test_missing_folder_and_other_version(tmp_path, make_gateway):
    with pytest.raises(ConfigUnreadable, match="is it mounted"):
        read_config(tmp_path / "missing")
    gateway = make_gateway()
    document = {"agent": {**gateway.config.model_dump(mode="json"), "later": 1}, "envoy": {}}
    (tmp_path / "part-000").write_bytes(gzip.compress(orjson.dumps(document)))
    with pytest.raises(ConfigUnreadable, match="another version"):
        read_config(tmp_path)


def test_write_makes_folders_and_replaces_by_rename(tmp_path):
    path = tmp_path / "new" / "file"
    assert write_if_different(path, b"1")
    inode = path.stat().st_ino
    assert not write_if_different(path, b"1")
    assert path.stat().st_ino == inode
    assert write_if_different(path, b"2")
    assert path.stat().st_ino != inode
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_if_different(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", fail)
    with pytest.raises(OSError, match="No space"):
        write_if_different(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
