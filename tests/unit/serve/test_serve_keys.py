"""Managed signing keys of `moltbot serve`."""

import json

import pytest

from moltbot_agent.signing import public_jwk
from moltbot_operator.compile import BackendRef
from moltbot_operator.errors import InvalidInput
from moltbot_operator.serve.keys import default_folder, managed_key

REF = BackendRef("default", "pro")


def test_a_key_is_made_once_readable_by_the_owner_and_published(tmp_path):
    folder = tmp_path / "keys"
    pem, jwks = managed_key(folder, REF, "ES256")
    assert managed_key(folder, REF, "ES256")[0] == pem
    assert json.loads(jwks.read_text()) == {"keys": [public_jwk(pem.decode(), "ES256")]}
    assert oct((folder / "default_pro_es256.pem").stat().st_mode & 0o777) == "0o600"
    assert {path.name for path in folder.iterdir()} == {"default_pro_es256.pem", jwks.name}
    assert managed_key(folder, REF, "EdDSA")[0] != pem


def test_what_can_not_be_used_is_named(tmp_path):
    (tmp_path / "default_pro_es256.pem").write_text("junk")
    with pytest.raises(InvalidInput, match=r"default_pro_es256\.pem is no PEM.*move it away"):
        managed_key(tmp_path, REF, "ES256")
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="--keys"):
        managed_key(tmp_path / "file", REF, "ES256")


def test_keys_are_kept_where_the_user_keeps_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "moltbot" / "keys"
