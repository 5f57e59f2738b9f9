-- Lua by itself collects garbage as soon as a script has twice the memory that the last collection left it: for this small
-- one every few dozen requests, and each time it walks along all that is alive. So that waits until there is more of it.
local SPARE = 4096 -- KiB of a thread's script below which nothing is collected

local collects = true

-- To be called wherever a script begins and wherever it has made a long text: nothing else starts the collector again.
local function spare_the_collector()
  local used = collectgarbage("count")
  if used > SPARE then
    if not collects then
      collects = true
      collectgarbage("restart")
    end
  elseif collects and used < SPARE / 2 then
    collects = false
    collectgarbage("stop")
  end
end
