import pytest

from moltbot_agent.sources import (
    LARGEST,
    KeyFile,
    Unusable,
    file_signature,
    folder_signature,
    read_folder,
    read_value,
)


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"key", "key"), (b"key\n", "key"), (b"key\r\n", "key"), (b"a b=/+~", "a b=/+~"), (b"k\n\n", "k")],
)
def test_value_without_its_newline(tmp_path, content, value):
    (tmp_path / "token").write_bytes(content)
    assert read_value(tmp_path / "token") == value


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"Secret-1\nSecret-2", "more than one line"),
        (b"Secret\rx", "more than one line"),
        (b"Secret\x00", "printable ASCII"),
        ("Secret-ключ".encode(), "printable ASCII"),
        (b"\xff\xfeSecret", "printable ASCII"),
        (b"Secret" * LARGEST, "longer than"),
    ],
)
def test_unusable_value_is_told_without_the_value(tmp_path, content, why):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(Unusable, match=why) as error:
        read_value(tmp_path / "token")
    assert "Secret" not in str(error.value).replace("into the Secret", "").replace("in the Secret", "")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(Unusable, match="does not exist"):
        read_value(tmp_path / "no" / "token")
    with pytest.raises(Unusable, match="is a folder"):
        read_value(tmp_path)
    with pytest.raises(Unusable, match="does not exist"):
        read_folder(tmp_path / "no")


def test_folder_gives_every_file_but_the_kubelets(make_gateway):
    gateway = make_gateway()
    gateway.secret("consumers/web", {"b": "2", "a": "1\n", "bad": "x\ny", ".hidden": "3"})
    (gateway.keys("web") / "..data" / "folder").mkdir()
    assert read_folder(gateway.keys("web")) == [
        KeyFile("a", "1"),
        KeyFile("b", "2"),
        KeyFile("bad", None, "has more than one line; keep the credential alone in the Secret's key"),
    ]


def test_plain_folder_works_too(tmp_path):
    (tmp_path / "a").write_text("1")
    assert read_folder(tmp_path) == [KeyFile("a", "1")]


def test_signatures_follow_the_kubelets_swap(make_gateway):
    gateway = make_gateway()
    source = gateway.credential("one").source
    before = (file_signature(source), folder_signature(source.parent))
    assert (file_signature(source), folder_signature(source.parent)) == before
    gateway.secret("credentials/one", {"token": "key-of-one\n"})
    after = (file_signature(source), folder_signature(source.parent))
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_signatures_follow_plain_files(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    seen = [(folder_signature(folder), file_signature(folder / "a"))]

    def look() -> None:
        seen.append((folder_signature(folder), file_signature(folder / "a")))

    (folder / "a").write_text("1")
    look()
    (folder / "a").write_text("22")
    look()
    (folder / "b").write_text("1")
    look()
    (folder / "a").unlink()
    look()
    assert len({of_folder for of_folder, _ in seen}) == 5
    assert len({of_file for _, of_file in seen}) == 3
    assert folder_signature(tmp_path / "missing") == folder_signature(tmp_path / "missing")
