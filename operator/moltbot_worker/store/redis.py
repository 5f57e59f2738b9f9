"""The store in Redis or Valkey: strings with an end for the cache, streams with a consumer group for jobs.

Keys: `PREFIX:{NAMESPACE/ROUTE}:` and `c:` cached, `l:` lock, `q:` queue, `j:` job, `o:` wanted once, `dead`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from moltbot_worker.errors import StoreAway, StoreFull
from moltbot_worker.store import scripts
from moltbot_worker.store.contract import Backlog, Delivery, JobFields, Submitted

__all__ = ["RedisStore"]

PAUSE_S: Final = 0.5
"""After a failure nobody asks for so long: requests must not wait for a store that is away."""

MOST_CONNECTIONS: Final = 128

_MOST_HELD: Final = 1000
"""More than one worker runs at once."""


class RedisStore:
    """`password` is asked at each new connection; `failed` is told of each failure."""

    def __init__(
        self,
        url: str,
        base: str,
        *,
        timeout: float,
        password: Callable[[], str] | None,
        ca: str | None = None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        settings: dict[str, Any] = {
            "protocol": 2,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 1),
        }
        if password is not None:
            settings["credential_provider"] = _Password(password)
        if ca is not None:
            settings["ssl_ca_certs"] = ca
        quick = BlockingConnectionPool.from_url(
            url, max_connections=MOST_CONNECTIONS, timeout=timeout, socket_timeout=timeout, **settings
        )
        patient = BlockingConnectionPool.from_url(url, max_connections=64, timeout=timeout, **settings)
        self._quick: Redis = Redis(connection_pool=quick)
        self._patient: Redis = Redis(connection_pool=patient)
        self._base = base
        self._timeout = timeout
        self._failed = failed
        self._away_until = 0.0
        self._up = True
        run = self._quick.register_script
        self._claim, self._release = run(scripts.CLAIM), run(scripts.RELEASE)
        self._submit, self._begin, self._finish = run(scripts.SUBMIT), run(scripts.BEGIN), run(scripts.FINISH)
        self._note, self._renew = run(scripts.NOTE), run(scripts.RENEW)
        self._give_back = run(scripts.GIVE_BACK)

    @property
    def up(self) -> bool:
        """See the contract."""
        return self._up

    def _key(self, kind: str, name: str) -> str:
        return f"{self._base}:{kind}:{name}"

    async def _do(self, ask: Callable[[], Awaitable[Any]], extra: float = 0.0) -> Any:
        """What Redis says. Raises StoreAway; StoreFull where it has no memory left."""
        if time.monotonic() < self._away_until:
            raise StoreAway("the store is away")
        try:
            async with asyncio.timeout(2 * self._timeout + extra):
                said = await ask()
        except OutOfMemoryError as error:
            self._failed()
            raise StoreFull("the store has no memory left (maxmemory)") from error
        except ResponseError as error:
            if str(error).startswith(("NOGROUP", "BUSYGROUP")):
                raise
            raise self._lost(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise self._lost(error) from error
        self._up = True
        return said

    def _lost(self, error: Exception) -> StoreAway:
        self._up = False
        self._away_until = time.monotonic() + PAUSE_S
        self._failed()
        return StoreAway(f"the store did not answer: {type(error).__name__}")

    async def get(self, key: str) -> bytes | None:
        """See the contract."""
        found: bytes | None = await self._do(lambda: self._quick.get(self._key("c", key)))
        return found

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """See the contract."""
        await self._do(lambda: self._quick.set(self._key("c", key), value, px=_ms(ttl)))

    async def claim(self, name: str, owner: str, ttl: float) -> bool:
        """See the contract."""
        return bool(await self._do(lambda: self._claim([self._key("l", name)], [owner, _ms(ttl)])))

    async def release(self, name: str, owner: str) -> None:
        """See the contract."""
        await self._do(lambda: self._release([self._key("l", name)], [owner]))

    async def submit(
        self,
        queue: str,
        job: str,
        fields: Mapping[str, bytes],
        *,
        once: str | None,
        most: int,
        once_ttl: float,
    ) -> Submitted | None:
        """See the contract."""
        keys = [self._key("q", queue), self._key("j", job)]
        if once is not None:
            keys.append(self._key("o", once))
        values = _flat({**fields, "state": b"queued", "tries": b"0"})
        said = await self._do(lambda: self._submit(keys, [job, most, _ms(once_ttl), *values]))
        return None if said is None else Submitted(said[0].decode(), new=said[1] == 1)

    async def take(self, queue: str, worker: str, count: int, *, lease: float, wait: float) -> list[Delivery]:
        """See the contract."""
        key = self._key("q", queue)
        try:
            _, orphans, *_ = await self._do(
                lambda: self._quick.xautoclaim(key, scripts.GROUP, worker, _ms(lease), count=count)
            )
            if orphans:
                return [Delivery(queue, entry.decode(), fields[b"job"].decode()) for entry, fields in orphans]
            found = await self._do(
                lambda: self._patient.xreadgroup(
                    scripts.GROUP, worker, {key: ">"}, count=count, block=_ms(wait)
                ),
                extra=wait,
            )
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._make_group(key)
            return []
        entries = found[0][1] if found else []
        return [Delivery(queue, entry.decode(), fields[b"job"].decode()) for entry, fields in entries]

    async def _make_group(self, key: str) -> None:
        try:
            await self._do(lambda: self._quick.xgroup_create(key, scripts.GROUP, id="0", mkstream=True))
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def renew(self, worker: str, deliveries: Sequence[Delivery]) -> None:
        """See the contract."""
        for queue in {delivery.queue for delivery in deliveries}:
            entries = [delivery.entry for delivery in deliveries if delivery.queue == queue]
            with contextlib.suppress(ResponseError):  # a queue that is gone has nothing to renew
                await self._do(partial(self._renew, [self._key("q", queue)], [worker, *entries]))

    async def give_back(self, queue: str, worker: str) -> None:
        """See the contract."""
        key = self._key("q", queue)
        with contextlib.suppress(ResponseError):  # a queue that is gone has nothing to give back
            held = await self._do(
                lambda: self._quick.xpending_range(
                    key, scripts.GROUP, min="-", max="+", count=_MOST_HELD, consumername=worker
                )
            )
            for entry in [each["message_id"] for each in held]:
                found = await self._do(partial(self._quick.xrange, key, entry, entry))
                for _, fields in found:
                    keys = [key, self._key("j", fields[b"job"].decode())]
                    await self._do(partial(self._give_back, keys, [worker, entry]))

    async def begin(self, delivery: Delivery) -> tuple[int, JobFields] | None:
        """See the contract."""
        keys = [self._key("q", delivery.queue), self._key("j", delivery.job)]
        said = await self._do(lambda: self._begin(keys, [delivery.entry]))
        if said is None:
            return None
        fields = _fields(dict(zip(said[::2], said[1::2], strict=True)))
        return int(fields["tries"]), fields

    async def finish(
        self,
        delivery: Delivery,
        fields: Mapping[str, bytes],
        *,
        ttl: float,
        then: str | None,
        dead: bool = False,
    ) -> bool:
        """See the contract."""
        keys = [self._key("q", delivery.queue), self._key("j", delivery.job), f"{self._base}:dead"]
        if then is not None:
            keys.append(self._key("q", then))
        values = [delivery.entry, delivery.job, _ms(ttl), int(dead), *_flat({**fields, "state": b"ended"})]
        return bool(await self._do(lambda: self._finish(keys, values)))

    async def forget(self, delivery: Delivery) -> None:
        """See the contract."""
        key = self._key("q", delivery.queue)
        async with self._quick.pipeline(transaction=True) as pipe:
            pipe.xack(key, scripts.GROUP, delivery.entry)
            pipe.xdel(key, delivery.entry)
            await self._do(pipe.execute)

    async def job(self, job: str) -> JobFields | None:
        """See the contract."""
        return _fields(await self._do(lambda: self._quick.hgetall(self._key("j", job)))) or None

    async def note(self, job: str, fields: Mapping[str, bytes]) -> bool:
        """See the contract."""
        return bool(await self._do(lambda: self._note([self._key("j", job)], _flat(fields))))

    async def remove(self, job: str) -> bool:
        """See the contract."""
        return bool(await self._do(lambda: self._quick.delete(self._key("j", job))))

    async def dead(self, count: int) -> list[str]:
        """See the contract."""
        found = await self._do(lambda: self._quick.lrange(f"{self._base}:dead", 0, count - 1))
        return [each.decode() for each in found]

    async def backlog(self, queue: str) -> Backlog:
        """See the contract."""
        key = self._key("q", queue)
        async with self._quick.pipeline(transaction=False) as pipe:
            pipe.xlen(key)
            pipe.xrange(key, count=1)
            pipe.time()
            depth, first, (seconds, micros) = await self._do(pipe.execute)
        if not first:
            return Backlog(depth, 0.0)
        made = int(first[0][0].partition(b"-")[0]) / 1000
        return Backlog(depth, max(0.0, seconds + micros / 1e6 - made))

    async def close(self) -> None:
        """See the contract."""
        await self._quick.aclose(close_connection_pool=True)
        await self._patient.aclose(close_connection_pool=True)


class _Password(CredentialProvider):
    """redis-py's CredentialProvider, from a file that may change."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    def get_credentials(self) -> tuple[str]:
        return (self._read(),)

    async def get_credentials_async(self) -> tuple[str]:
        return self.get_credentials()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _flat(fields: Mapping[str, bytes]) -> list[str | bytes]:
    return [each for pair in fields.items() for each in pair]


def _fields(said: Mapping[bytes, bytes]) -> JobFields:
    return {key.decode(): value for key, value in said.items()}
