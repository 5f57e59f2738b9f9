-- Draws the candidate that answers fastest (docs/routing.md). Each worker thread learns for itself, from how long first
-- attempts took until their headers.
local known = {} -- backend -> { ms, at }: moving average, and when it was last learnt from

local SMOOTH = 10 -- ms added to every time: differences far below it are noise
local RISE, FALL = 0.3, 0.5 -- weight of a new time that is longer, or shorter
local FAILED = 10000 -- ms that a failed attempt counts as
local HALF = 10000 -- ms after which half of what was learnt is forgotten
local SLOWEST = 10 -- times the fastest, as which every slower one counts: it keeps a share, and is seen to recover

local function learn(backend, ms, now)
  local before = known[backend]
  if before then
    local weight = ms > before.ms and RISE or FALL
    ms = before.ms + weight * (ms - before.ms)
  end
  known[backend] = { ms = ms, at = now }
end

-- Number of the choice: shares are the weights divided by the square of the time.
local function draw_fastest(plan, now)
  local backends, weights = plan["backends"], plan["weights"]
  local best
  for number = 1, #backends do
    local it = known[backends[number]]
    if it and (not best or it.ms < best) then best = it.ms end
  end
  best = best or 0
  local shares, total = {}, 0
  for number = 1, #backends do
    local it = known[backends[number]]
    local ms = it and best + (it.ms - best) * 0.5 ^ ((now - it.at) / HALF) or best
    local times = math.min((ms + SMOOTH) / (best + SMOOTH), SLOWEST)
    shares[number] = weights[number] / (times * times)
    total = total + shares[number]
  end
  local ball = math.random() * total
  for number = 1, #shares do
    ball = ball - shares[number]
    if ball < 0 then return number end
  end
  return #shares
end

-- What the backend itself is to blame for; a client's own fault is answered as well as any.
local function is_failure(status)
  return status >= 500 or status == 401 or status == 403 or status == 408 or status == 429
end

-- Learns from an answer how the backend did that was drawn for the first attempt.
local function learn_from(handle, drawn)
  local headers = handle:headers()
  local attempts = tonumber(headers:get("x-moltbot-attempts") or "")
  if not attempts or attempts == 0 then return end -- refused before any backend was asked
  local kept = headers:get("x-moltbot-cache")
  if kept == "hit" or kept == "stale" then return end -- by a worker, which asked nobody
  local now = handle:timestamp()
  local ours = handle:streamInfo():dynamicMetadata():get("moltbot")
  if not ours or not ours["began"] then return end
  local own = attempts == 1 and headers:get("x-moltbot-backend") == drawn -- else full, ejected or tried in vain
  local failed = not own or is_failure(tonumber(headers:get(":status")))
  learn(drawn, failed and FAILED or now - ours["began"], now)
end
