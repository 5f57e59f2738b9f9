"""Steps that must happen at once in Redis, as Lua (https://redis.io/docs/latest/develop/programmability/eval-intro/).

Keys of one route share a hash tag, so these work in a cluster too.
"""

from typing import Final

__all__ = ["BEGIN", "CLAIM", "FINISH", "GIVE_BACK", "GROUP", "NOTE", "RELEASE", "RENEW", "SUBMIT"]

GROUP: Final = "workers"
"""The consumer group of every queue."""

FOREVER_MS: Final = 7 * 24 * 3600 * 1000
"""A silence that no lease outlasts."""

CLAIM: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""lock | owner, milliseconds"""

RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""lock | owner"""

SUBMIT: Final = """
if KEYS[3] then
  local earlier = redis.call('GET', KEYS[3])
  if earlier then return {earlier, 0} end
end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then return false end
if KEYS[3] then redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3]) end
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('XADD', KEYS[1], '*', 'job', ARGV[1])
return {ARGV[1], 1}
"""
"""queue, job[, once] | id, most, milliseconds of once, field, value …"""

BEGIN: Final = f"""
local state = redis.call('HGET', KEYS[2], 'state')
if not state or state == 'ended' then
  redis.call('XACK', KEYS[1], '{GROUP}', ARGV[1])
  redis.call('XDEL', KEYS[1], ARGV[1])
  return false
end
redis.call('HSET', KEYS[2], 'state', 'running')
redis.call('HINCRBY', KEYS[2], 'tries', 1)
return redis.call('HGETALL', KEYS[2])
"""
"""queue, job | entry"""

FINISH: Final = f"""
redis.call('XACK', KEYS[1], '{GROUP}', ARGV[1])
redis.call('XDEL', KEYS[1], ARGV[1])
local state = redis.call('HGET', KEYS[2], 'state')
if not state or state == 'ended' then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if ARGV[4] == '1' then
  redis.call('LPUSH', KEYS[3], ARGV[2])
  redis.call('LTRIM', KEYS[3], 0, 999)
end
if KEYS[4] then redis.call('XADD', KEYS[4], '*', 'job', ARGV[2]) end
return 1
"""
"""queue, job, dead[, then] | entry, id, milliseconds to keep, 1 if dead, field, value …"""

GIVE_BACK: Final = f"""
local found = redis.call('XPENDING', KEYS[1], '{GROUP}', ARGV[2], ARGV[2], 1)
if not found[1] or found[1][2] ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[2], 'state') == 'running' then
  redis.call('HSET', KEYS[2], 'state', 'queued')
  redis.call('HINCRBY', KEYS[2], 'tries', -1)
end
redis.call('XCLAIM', KEYS[1], '{GROUP}', ARGV[1], 0, ARGV[2], 'IDLE', {FOREVER_MS}, 'JUSTID')
return 1
"""
"""queue, job | worker, entry"""

NOTE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""
"""job | field, value …"""

RENEW: Final = f"""
for _, entry in ipairs({{unpack(ARGV, 2)}}) do
  local found = redis.call('XPENDING', KEYS[1], '{GROUP}', entry, entry, 1)
  if found[1] and found[1][2] == ARGV[1] then
    redis.call('XCLAIM', KEYS[1], '{GROUP}', ARGV[1], 0, entry, 'JUSTID')
  end
end
return 1
"""
"""queue | worker, entry …"""
