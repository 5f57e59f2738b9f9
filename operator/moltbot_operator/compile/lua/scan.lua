-- Reads the structure of a JSON object to find the top-level "model", without building the object: only the
-- bytes of the name are ever replaced, so everything else reaches the backend as the client wrote it.
local find, byte, sub = string.find, string.byte, string.sub

-- Index after the closing quote of the string that opens at `at`; nil if it never closes.
local function after_string(text, at)
  local from = at + 1
  while true do
    local quote = find(text, '"', from, true)
    if not quote then return nil end
    local before = quote - 1
    while byte(text, before) == 92 do before = before - 1 end
    if (quote - 1 - before) % 2 == 0 then return quote + 1 end
    from = quote + 1
  end
end

local function skip_space(text, at)
  local code = byte(text, at)
  while code == 32 or code == 10 or code == 13 or code == 9 do
    at = at + 1
    code = byte(text, at)
  end
  return at, code
end

-- What a JSON string of ASCII says; other escapes stay as they are, since no name has them.
local function plain(written)
  if not find(written, "\\", 1, true) then return written end
  return (written:gsub('\\(["\\/u])(0?0?%x?%x?)', function(short, code)
    if short ~= "u" then return short .. code end
    local value = #code == 4 and tonumber(code, 16)
    return value and value < 128 and string.char(value) or nil
  end))
end

local LONGEST_KEY = 30 -- "model" with each letter written as an escape
local DEEPEST = 10000

local closing = {}

-- true, and where the value of "model" begins and ends (its quotes included; nil if there is none);
-- or false and what is wrong with the text. `spans` gets where the values of its `telling` keys are.
local function scan(text, spans)
  local at, code = skip_space(text, 1)
  if code ~= 123 then return false, "The request body is no JSON object." end
  local depth, key, from, to, open = 1, true, nil, nil, nil
  closing[1] = 125
  at = at + 1
  while true do
    code = byte(text, at)
    if code == 34 then
      local next = after_string(text, at)
      if not next then return false, "The request body is no JSON: a string is not closed." end
      if depth == 1 and key then
        key = false
        if spans then
          if open then open.to = at end
          local telling = next - at - 2 <= LONGEST_KEY and plain(sub(text, at + 1, next - 2))
          open = telling and spans.telling[telling] and { from = next, to = #text } or nil
          if open then spans[telling] = open end
        end
        local first = byte(text, at + 1)
        local called = next - at - 2 <= LONGEST_KEY
          and (first == 109 or first == 77 or first == 92 and find(text, "^\\u00[46][dD]", at + 1))
          and plain(sub(text, at + 1, next - 2))
        if called and called:lower() == "model" then
          -- Some backends take a key without regard to case, and would read a model that was not looked at.
          if called ~= "model" then return false, "The request body writes model with capital letters." end
          if from then return false, "The request body names a model twice." end
          local value, sign = skip_space(text, next)
          if sign ~= 58 then return false, "The request body is no JSON: a colon is missing." end
          value, sign = skip_space(text, value + 1)
          if sign ~= 34 then return false, "The model must be a string." end
          next = after_string(text, value)
          if not next then return false, "The request body is no JSON: a string is not closed." end
          from, to = value, next - 1
        end
      end
      at = next
    elseif code == 123 or code == 91 then
      depth = depth + 1
      if depth > DEEPEST then return false, "The request body is nested too deeply." end
      closing[depth] = code + 2
      at = at + 1
    elseif code == 125 or code == 93 then
      if closing[depth] ~= code then return false, "The request body is no JSON: brackets do not match." end
      depth = depth - 1
      at = at + 1
      if depth == 0 then
        local _, rest = skip_space(text, at)
        if rest then return false, "The request body is no JSON: text follows the object." end
        return true, from, to
      end
    elseif code == nil then
      return false, "The request body is no JSON: it ends too early."
    else
      if code == 44 then key = true end
      at = at + 1
    end
  end
end

local function refuse(handle, status, message, param)
  handle:respond(
    { [":status"] = status, ["content-type"] = "application/json" },
    '{"error": {"message": "' .. message .. '", "type": "invalid_request_error", "param": '
      .. (param and '"' .. param .. '"' or "null") .. ', "code": null}}'
  )
end

-- Operations that take files, as forms.
local UPLOADS = {
  "/audio/transcriptions$", "/audio/translations$", "/images/edits$", "/images/variations$", "/files$", "/uploads$",
  "/uploads/[^/]+/parts$",
}

local function is_upload(headers)
  if not find((headers:get("content-type") or ""):lower(), "^multipart/form%-data *;") then return false end
  local path = (headers:get(":path") or ""):match("^[^?]*")
  for _, operation in ipairs(UPLOADS) do
    if find(path, operation) then return true end
  end
  return false
end

-- The body and its text; nil if there is none or it is to be passed on unread (uploads). What the content type says
-- is not believed: a backend may read JSON whatever it says, and would get a model that nobody looked at.
-- The second result is false where a refusal has been sent. `telling`: keys whose values are to be found, see scan.
local function read(handle, telling)
  local headers = handle:headers()
  if is_upload(headers) then return nil, true end
  local kind = (headers:get("content-type") or ""):lower()
  local coding = headers:get("content-encoding")
  local body = handle:body() -- header objects are invalid from here on
  if not body or body:length() == 0 then return nil, true end
  if coding and coding ~= "identity" then
    refuse(handle, "415", "This gateway reads the model from the body and takes no compressed requests.", nil)
    return nil, false
  end
  local text = body:getBytes(0, body:length())
  spare_the_collector()
  local spans = telling and { telling = telling }
  local sound, right, from, to = pcall(scan, text, spans)
  if not sound then right, from = false, "The request body can't be read." end
  if right then return { body = body, text = text, from = from, to = to, spans = spans }, true end
  if find(kind, "json", 1, true) or find(text, "^%s*{") then
    refuse(handle, "400", from, from == "The model must be a string." and "model" or nil)
    return nil, false
  end
  refuse(handle, "415", "This gateway reads the model from the body: send JSON as application/json.", nil)
  return nil, false
end

-- Puts a model's name, quotes included, in place of the client's.
local function write_model(content, name)
  content.body:setBytes(sub(content.text, 1, content.from - 1) .. name .. sub(content.text, content.to + 1))
end
