from prometheus_client import CollectorRegistry, generate_latest

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MODEL_BACKEND
from moltbot_operator.telemetry.objectives import MOST, ObjectivesCollector


def backend(name, status=None, *, objectives=True):
    conditions = [] if status is None else [{"type": "ObjectivesMet", "status": status}]
    return {
        "metadata": {"namespace": "n", "name": name},
        "spec": {"objectives": {}} if objectives else {},
        "status": {"conditions": conditions},
    }


def scraped(*backends):
    cache, registry = Cache(), CollectorRegistry()
    for each in backends:
        cache.put(MODEL_BACKEND, each)
    registry.register(ObjectivesCollector(cache))
    lines = generate_latest(registry).decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_backends_with_objectives_are_counted_and_named():
    found = scraped(
        backend("good", "True"),
        backend("bad", "False"),
        backend("idle", "Unknown"),
        backend("new"),
        backend("other", "Unknown", objectives=False),
    )
    assert found == {
        'moltbot_backends_with_objectives{met="True"}': "1.0",
        'moltbot_backends_with_objectives{met="False"}': "1.0",
        'moltbot_backends_with_objectives{met="Unknown"}': "2.0",
        'moltbot_backend_objectives_met{backend="n/good"}': "1.0",
        'moltbot_backend_objectives_met{backend="n/bad"}': "0.0",
    }


def test_series_are_bounded():
    found = scraped(*(backend(f"b{number:05}", "True") for number in range(MOST + 50)))
    assert len(found) == MOST + 3
    assert found['moltbot_backends_with_objectives{met="True"}'] == str(float(MOST + 50))
