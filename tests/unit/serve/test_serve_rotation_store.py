"""A rotated credential in a folder."""

from datetime import UTC, datetime

import pytest

from moltbot_operator.errors import InvalidInput
from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.state import Mounted, Phase, State
from moltbot_operator.serve.rotation.store import FolderStore

END = datetime(2030, 1, 1, tzinfo=UTC)
MADE = Credential("id-1", "moltbot-u-1", "s3cret", {"token": "t"}, END)
PROMOTED = State(phase=Phase.PROMOTED, version="v1", due=END, answered=END)


@pytest.fixture
def opened(tmp_path):
    stores = []

    def again():
        while stores:
            stores.pop().close()
        stores.append(FolderStore(tmp_path / "a"))
        return stores[-1]

    yield again
    for each in stores:
        each.close()


async def test_what_was_kept_is_there_for_the_next_server(opened):
    first = opened()
    await first.save(PROMOTED)
    await first.put("v1", MADE)
    await first.mount(Mounted("v1"))
    uid = first.uid
    second = opened()
    assert await second.load() == PROMOTED
    assert await second.get("v1") == MADE
    assert await second.versions() == {"v1": END}
    assert await second.mounted() == Mounted("v1")
    assert second.values() == {"value": "s3cret"}
    assert second.uid == uid


async def test_a_stored_version_never_changes_and_can_be_dropped_twice(opened):
    store = opened()
    await store.put("v1", MADE)
    await store.put("v1", Credential("id-2", "tag", "other"))
    assert await store.get("v1") == MADE
    await store.drop("v1")
    await store.drop("v1")
    assert await store.get("v1") is None


async def test_gateways_are_given_nothing_until_it_was_taken_over(opened):
    store = opened()
    await store.put("v1", MADE)
    await store.mount(Mounted("v1"))
    assert store.values() == {}
    await store.save(State(version="v1"))
    assert store.values() == {"value": "s3cret"}
    await store.drop("v1")
    assert await store.mounted() == Mounted()
    assert store.values() == {}


async def test_files_are_readable_by_the_owner_alone_and_what_a_kill_left_goes(opened, tmp_path):
    store = opened()
    await store.put("v1", MADE)
    (tmp_path / "a" / ".version-v2.json.x").write_text("half")
    opened()
    assert sorted(each.name for each in (tmp_path / "a").iterdir()) == ["lock", "uid", "version-v1.json"]
    for each in (tmp_path / "a").iterdir():
        assert each.stat().st_mode & 0o077 == 0


async def test_only_one_server_has_it(opened, tmp_path):
    opened()
    with pytest.raises(InvalidInput, match="another server rotates this credential"):
        FolderStore(tmp_path / "a")


def test_a_file_that_somebody_changed_is_named_with_the_remedy(opened, tmp_path):
    opened()
    (tmp_path / "a" / "state.json").write_text("{half")
    with pytest.raises(InvalidInput, match=r"state\.json was changed by somebody.*move it away"):
        opened()


def test_a_folder_that_can_not_be_made_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="--keys"):
        FolderStore(tmp_path / "file" / "a")
