-- Reads the tokens that a plain JSON answer used into the metadata, for the audit record and metrics. Answers in events
-- are read by another filter.
local TAIL = 65536 -- bytes at the end of an answer that are searched: usage comes last

-- The text after the last "usage": { of an answer; content can't pretend, its quotes are escaped.
local function usage_in(text)
  local at, from = nil, 1
  while true do
    local first, last = find(text, '"usage"', from, true)
    if not first then break end
    if find(text, "^%s*:%s*{", last + 1) then at = last + 1 end
    from = last + 1
  end
  return at and sub(text, at, at + 2048)
end

local function end_of(handle)
  local text = ""
  for chunk in handle:bodyChunks() do
    local size = chunk:length()
    local kept = math.min(size, TAIL)
    text = sub(text, kept - TAIL) .. chunk:getBytes(size - kept, kept)
    if kept == TAIL then text = sub(text, -TAIL) end
  end
  return text
end

-- The whole number that a key has, its quotes included: to find a key is far cheaper than to match it.
local function number_of(text, key)
  local _, last = find(text, key, 1, true)
  return last and text:match("^%s*:%s*(%d+)", last + 1)
end

local function count_tokens(handle)
  local headers = handle:headers()
  if headers:get(":status") ~= "200" then return end
  local kind, coding = headers:get("content-type"), headers:get("content-encoding")
  if not kind or not find(kind:lower(), "^application/json") then return end
  if coding and coding ~= "identity" then return end
  local length, text = tonumber(headers:get("content-length") or ""), nil
  if length and length <= TAIL then
    local body = handle:body()
    text = body and body:getBytes(0, body:length()) or ""
  else
    text = end_of(handle)
  end
  local usage = usage_in(text)
  if not usage then return end
  local prompt = number_of(usage, '"prompt_tokens"') or number_of(usage, '"input_tokens"')
  local completion = number_of(usage, '"completion_tokens"') or number_of(usage, '"output_tokens"')
  local total = number_of(usage, '"total_tokens"')
  local data = handle:streamInfo():dynamicMetadata()
  if prompt then data:set("moltbot", "prompt_tokens", tonumber(prompt)) end
  if completion then data:set("moltbot", "completion_tokens", tonumber(completion)) end
  if total then data:set("moltbot", "total_tokens", tonumber(total)) end
end
