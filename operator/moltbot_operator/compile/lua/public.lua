-- Acts where Envoy's route table alone can't: matches the model in the body, draws a candidate by weight, writes the
-- candidate's model into the body, lists a consumer's models and answers for one. Routes say what is to be done: `act`
-- in the filter context of the first route; `draw`, or the models to `show`, in the metadata of the rule's route.
-- An error here would let the request go on, so the routes that need this script lead nowhere without it.

-- Every worker and every pod shall draw differently.
math.randomseed(os.time() + (tonumber(tostring({}):match("0x(%x+)") or "0", 16) % 2147483647))
for _ = 1, 8 do math.random() end

local LONGEST = 512

-- The client's name of the model, for logs; nil if there is none, false if it has been refused.
local function asked(handle, content)
  if not content or not content.from then return nil end
  local name = plain(sub(content.text, content.from + 1, math.min(content.to - 1, content.from + LONGEST)))
  if find(name, "%c") then
    refuse(handle, "400", "The model's name has control characters.", "model")
    return false
  end
  handle:streamInfo():dynamicMetadata():set("moltbot", "model", name)
  return name
end

local function draw(upto)
  local ball, last = math.random(upto[#upto]), #upto
  for number = 1, last do
    if ball <= upto[number] then return number end
  end
  return last
end

local function list_models(handle)
  local headers = handle:headers()
  headers:replace("x-mb-route", "models:" .. (headers:get("x-mb-consumer") or ""))
  handle:clearRouteCache()
end

-- Answers for one model; every name that a consumer may not use is unknown to it.
local function show_model(handle)
  local headers, show = handle:headers(), handle:metadata():get("show")
  local path = headers:get(":path"):match("^[^?]*")
  local name = path:match("^.-/v1/models/(.+)$") or path:match("/models/([^/]+)$") or ""
  name = name:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
  local own = show["models"][headers:get("x-mb-consumer") or ""]
  local body = own and own[name]
  handle:respond({ [":status"] = body and "200" or "404", ["content-type"] = "application/json" },
    body or show["unknown"])
end

function envoy_on_request(handle)
  local act = handle:filterContext():get("act")
  if act == "models" then return list_models(handle) end
  if act == "model" then return show_model(handle) end
  local content, going, name
  if act == "scan" then
    content, going = read(handle)
    if not going then return end
    name = asked(handle, content)
    if name == false then return end
    handle:headers():replace("x-mb-model", name and "=" .. name or "-")
    handle:clearRouteCache()
  end
  local plan = handle:metadata():get("draw")
  if not plan then return end -- a rule that needs nothing more takes the request, or none does
  local number = draw(plan["upto"])
  local model = plan["models"][number]
  if model ~= "" then
    if act ~= "scan" then
      content, going = read(handle)
      if not going or asked(handle, content) == false then return end
    end
    if content and content.from then write_model(content, model) end
  end
  handle:headers():replace("x-mb-route", plan["to"][number])
  handle:clearRouteCache()
end
