from datetime import timedelta

import pytest

from moltbot_operator.errors import InvalidInput
from moltbot_operator.settings import Settings


def test_defaults_need_no_environment():
    settings = Settings.from_env({})
    assert settings.namespaces == ()
    assert settings.lease_duration == timedelta(seconds=15)
    assert settings.identity, "unique by host and process"


def test_each_field_has_its_variable():
    settings = Settings.from_env(
        {
            "MOLTBOT_NAMESPACES": "team-a, team-b,",
            "MOLTBOT_GATEWAY_IMAGE": "registry/moltbot:1",
            "MOLTBOT_LEASE_DURATION": "30",
            "MOLTBOT_RESYNC": "PT20M",
            "MOLTBOT_RETRY_PERIOD": "0.5",
            "MOLTBOT_CONCURRENCY": "16",
            "MOLTBOT_LOG_LEVEL": "debug",
            "MOLTBOT_UNKNOWN": "ignored",
            "HOME": "/root",
        }
    )
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.gateway_image == "registry/moltbot:1"
    assert settings.lease_duration == timedelta(seconds=30)
    assert settings.resync == timedelta(minutes=20)
    assert settings.retry_period == timedelta(milliseconds=500)
    assert settings.concurrency == 16
    assert settings.log_level == "debug"


def test_overrides_win():
    assert Settings.from_env({"MOLTBOT_LOG_LEVEL": "debug"}, log_level="error").log_level == "error"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MOLTBOT_CONCURRENCY", "0"),
        ("MOLTBOT_CONCURRENCY", "many"),
        ("MOLTBOT_HEALTH_PORT", "70000"),
        ("MOLTBOT_RESYNC", "0"),
        ("MOLTBOT_RESYNC", "-5"),
        ("MOLTBOT_RESYNC", "soon"),
        ("MOLTBOT_LOG_LEVEL", "loud"),
        ("MOLTBOT_IDENTITY", ""),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(variable, value):
    with pytest.raises(InvalidInput, match=f"^{variable}='{value}'"):
        Settings.from_env({variable: value})


def test_lease_times_must_fit_together():
    with pytest.raises(
        InvalidInput, match=r"^the lease needs retry_period < renew_deadline < lease_duration"
    ):
        Settings.from_env({"MOLTBOT_LEASE_DURATION": "5"})
