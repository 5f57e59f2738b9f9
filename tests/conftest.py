"""What holds in every tier."""

from hypothesis import HealthCheck, settings

# How long one example takes says nothing on a machine that does other things too.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
