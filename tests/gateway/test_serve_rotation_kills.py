"""A rotation on one machine, killed after each change of its folder and each call of the issuer."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import pytest
from moltbot_issuer import Issuer
from moltbot_provider import Provider

SCRIPT = Path(__file__).with_name("rotation_killed.py")
FIRST = "first-s3cret-of-a-person"


@pytest.fixture
def folder(tmp_path):
    """In memory where there is such a place: thousands of files are synced."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


async def killed_at_each_step(*given):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SCRIPT, *given), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert len(found) > 30  # steps
    return found


async def test_one_valid_credential_is_left_wherever_it_is_killed(folder):
    async with Issuer() as issuer, Provider(name="a", verify=issuer.verify) as provider:
        issuer.keys.make("person").value = FIRST
        found = await killed_at_each_step(folder, issuer.url, issuer.admin_key, provider.url)
        for number, each in enumerate(found):
            valid = [key.value for key in issuer.valid() if each["uid"] in key.name]
            assert valid == [each["used"]], number
            assert each["versions"] == 1, number
            assert not [name for name in each["names"] if name.startswith(".")], number
            assert each["mounted"]["next"] is None, number


async def test_clients_find_a_valid_key_wherever_it_is_killed(folder):
    for number, each in enumerate(await killed_at_each_step(folder)):
        assert each["at"]["used"] in each["at"]["valid"], number
        assert each["valid"] == [each["used"]], number
        assert not [name for name in each["names"] if name.startswith(".")], number
        assert each["mounted"]["next"] is None, number
