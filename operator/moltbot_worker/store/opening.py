"""The store that a configuration names."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from moltbot_worker.config import WorkerConfig
from moltbot_worker.store.contract import Store
from moltbot_worker.store.embedded import EmbeddedStore
from moltbot_worker.store.redis import RedisStore

__all__ = ["opened"]


def opened(config: WorkerConfig, failed: Callable[[], None]) -> Store:
    """Nothing is connected yet. `failed` is told of each operation that fails."""
    store = config.store
    if store.url is None:
        return EmbeddedStore(store.max_bytes)
    return RedisStore(
        store.url,
        f"{store.prefix}:{{{config.namespace}/{config.route}}}",
        timeout=store.timeout,
        password=None if store.password is None else partial(_password, store.password),
        ca=None if store.ca is None else str(store.ca),
        failed=failed,
    )


def _password(path: Path) -> str:
    return path.read_text().strip()
