"""Keys of consumers in a folder."""

import pytest

from moltbot_operator.errors import InvalidInput
from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.state import Mounted, Phase, State
from moltbot_operator.serve.files import KeySecret, Manifests
from moltbot_operator.serve.rotation.consumers import ConsumerKey, GivenKey
from moltbot_operator.serve.rotation.key_store import KeyFolder

ONE, TWO = "20260131-080000-aaaa", "20260203-080000-bbbb"
WEB = KeySecret("apps", "web-key")


@pytest.fixture
def opened(tmp_path):
    stores = []

    async def changed():
        stores[-1].told = getattr(stores[-1], "told", 0) + 1

    def again():
        while stores:
            stores.pop().close()
        stores.append(KeyFolder(tmp_path / "a", changed))
        return stores[-1]

    yield again
    for each in stores:
        each.close()


@pytest.fixture
async def store(opened):
    made = opened()
    await made.put(ONE, Credential("", "tag", "one"))
    await made.mount(Mounted(ONE))
    return made


async def test_clients_and_gateways_find_the_same_keys(store, tmp_path):
    await store.put(TWO, Credential("", "tag", "two"))
    await store.mount(Mounted(ONE, TWO))
    assert (tmp_path / "a" / "key").read_text() == "one"
    assert store.values() == {f"key-{ONE}": "one", f"key-{TWO}": "two"}
    assert await store.mounted() == Mounted(ONE, TWO)
    await store.mount(Mounted(TWO))
    assert (tmp_path / "a" / "key").read_text() == "two"
    await store.drop(ONE)
    await store.drop(ONE)
    assert store.values() == {f"key-{TWO}": "two"}
    assert await store.versions() == {TWO: None}


async def test_gateways_hear_of_each_change_of_a_key(store):
    before = store.told
    await store.put(TWO, Credential("", "tag", "two"))
    await store.drop(TWO)
    assert store.told == before + 2


async def test_what_was_kept_is_there_for_the_next_server(store, opened):
    state = State(phase=Phase.OVERLAP, version=ONE)
    await store.save(state)
    again = opened()
    assert await again.load() == state
    assert await again.mounted() == Mounted(ONE)
    assert (await again.get(ONE)).value == "one"
    assert await again.get(TWO) is None


async def test_a_key_never_changes_and_only_the_owner_reads_it(store, tmp_path):
    await store.put(ONE, Credential("", "tag", "another"))
    assert store.values() == {f"key-{ONE}": "one"}
    for each in (tmp_path / "a").iterdir():
        assert each.stat().st_mode & 0o077 == 0


async def test_what_people_do_in_the_folder_is_seen_once(store, tmp_path):
    store.touched()
    assert not store.touched()
    (tmp_path / "a" / f"key-{ONE}").unlink()
    assert store.touched()
    assert not store.touched()
    assert store.values() == {}
    assert await store.mounted() == Mounted()
    (tmp_path / "a" / "notes").write_text("not a key")
    (tmp_path / "a" / "key-of-mine").write_text("not made here")
    assert not store.touched()
    assert store.values() == {}


async def test_a_folder_that_is_gone_is_named(store, tmp_path):
    for each in (tmp_path / "a").iterdir():
        each.unlink()
    (tmp_path / "a").rmdir()
    assert store.touched()
    with pytest.raises(InvalidInput, match=r"a rotated credential can't be kept.*--keys"):
        store.values()


def filled(values, **given):
    manifests = Manifests(data={WEB.place: {name: value.encode() for name, value in given.items()}})
    ConsumerKey(WEB).fill(manifests, values)
    return {name: value.decode() for name, value in manifests.data[WEB.place].items()}


def test_a_persons_key_counts_until_it_is_taken_over_and_others_stay():
    assert filled({}, key="mine", other="o") == {"key": "mine", "other": "o"}
    assert filled({f"key-{ONE}": "one"}, key="mine", other="o") == {f"key-{ONE}": "one", "other": "o"}
    assert filled({}) == {}


@pytest.mark.parametrize(("value", "read"), [(b"mine\n", "mine"), (b"", None), (b"\0", None), (None, None)])
async def test_a_persons_key_is_the_first_if_it_can_be_used(value, read):
    given = Manifests(given={WEB: {} if value is None else {"key": value}})
    found = await GivenKey(lambda: given, WEB).read()
    assert (found and found.value) == read
