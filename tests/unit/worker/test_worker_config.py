import json

import pytest

from moltbot_worker.config import WorkerConfig, read_config
from moltbot_worker.errors import ConfigUnreadable

GIVEN = {
    "namespace": "team",
    "route": "assistant",
    "revision": "abc",
    "gateway": {"url": "http://127.0.0.1:8090", "key": "/run/key"},
    "rules": [
        {
            "name": "tech",
            "choices": [{"route": "tech/0", "chain": ["pro", "max"]}],
            "backends": {"pro": {"model": "pro-1"}, "max": {"schema": "Anthropic"}},
            "async": {"queue": "slow"},
        }
    ],
}


def written(folder, document):
    path = folder / "worker.json"
    path.write_text(json.dumps(document))
    return path


def test_a_configuration_is_read_with_its_defaults(tmp_path):
    config = read_config(written(tmp_path, GIVEN))
    assert config.rules[0].async_.queue == "slow"
    assert config.rules[0].backends["max"].schema_ == "Anthropic"
    assert config.rules[0].cache is None
    assert config.store.type == "Embedded"
    assert WorkerConfig.model_validate_json(config.model_dump_json(by_alias=True)) == config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rules": [{**GIVEN["rules"][0], "backends": {}}]}, "tech names backends without an entry"),
        ({"rules": [GIVEN["rules"][0]] * 2}, "two rules have one name"),
        ({"store": {"type": "Redis"}}, "store.url goes with type Redis"),
        ({"port": 70_000}, "port"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(tmp_path, change, told):
    with pytest.raises(ConfigUnreadable, match=told):
        read_config(written(tmp_path, {**GIVEN, **change}))


def test_the_refusal_quotes_no_value(tmp_path):
    with pytest.raises(ConfigUnreadable) as refused:
        read_config(written(tmp_path, {**GIVEN, "gateway": {"url": 7, "key": "/k", "password": "s3cret"}}))
    assert "s3cret" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigUnreadable, match=r"absent\.json can't be read"):
        read_config(tmp_path / "absent.json")
