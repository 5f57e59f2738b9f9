-- Acts where Envoy's route table alone can't: matches the model in the body and the kind of task, draws a candidate by
-- weight or latency, writes the candidate's model into the body, lists a consumer's models and answers for one. Routes say what is to be done: `act`
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
  handle:streamInfo():filterState():set("moltbot.model", "envoy.string", name)
  return name
end

local function draw(upto)
  local ball, last = math.random(upto[#upto]), #upto
  for number = 1, last do
    if ball <= upto[number] then return number end
  end
  return last
end

-- Models that tell the kind of task, by name; false where no rule asks for it. They never change within a process.
local task_models

local function models_of_tasks(handle)
  if task_models == nil then
    local tasks = handle:virtualHost():metadata():get("tasks")
    task_models = tasks and tasks["models"] or false
  end
  return task_models
end

-- Names the kind of task for the routes; false if the client's header names none and the request has been refused.
local function classify(handle, header, path, name, content)
  local task, why = task_of(header, path, name, content, task_models)
  if not task then
    refuse(handle, "400", "The header x-moltbot-task must be Dialog, Code, Multimodal or Embedding.", nil)
    return false
  end
  local data = handle:streamInfo():dynamicMetadata()
  data:set("moltbot", "task", task)
  data:set("moltbot", "task_reason", why)
  data:set("moltbot", "task_verdict", task .. ";reason=" .. why)
  handle:headers():replace("x-mb-task", task)
  return true
end

-- What the contexts of routes say is to be drawn, by its name: it never changes within a process.
local plans = {}

-- The plan of a route's context, if the model is all that the route's rule still asked for. (Not in its metadata: once
-- read, Envoy gives the first route's metadata for any later route.)
local function plan_for(handle, model)
  local context = handle:filterContext() -- that from before the body was waited for is gone
  local name = context:get("plan")
  if not name or not model then return nil end
  local plan = plans[name]
  if not plan then
    plan = context:get("draw")
    plans[name] = plan
  end
  return plan["asked"][model] and plan
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
  spare_the_collector()
  local act = handle:filterContext():get("act")
  if act == "models" then return list_models(handle) end
  if act == "model" then return show_model(handle) end
  local content, going, name, plan
  if act == "scan" then
    local headers, tasks = handle:headers(), models_of_tasks(handle)
    local header, path = headers:get("x-moltbot-task"), headers:get(":path")
    content, going = read(handle, tasks and TELLING)
    if not going then return end
    name = asked(handle, content)
    if name == false then return end
    if tasks and not classify(handle, header, path, name, content) then return end
    plan = plan_for(handle, name)
    if not plan then
      handle:headers():replace("x-mb-model", name and "=" .. name or "-")
      handle:clearRouteCache()
    end
  end
  plan = plan or handle:metadata():get("draw")
  if not plan then return end -- a rule that needs nothing more takes the request, or none does
  local number
  if plan["backends"] then
    local now = handle:timestamp()
    number = draw_fastest(plan, now)
    handle:streamInfo():dynamicMetadata():set("moltbot", "began", now)
  else
    number = draw(plan["upto"])
  end
  local model = plan["models"][number]
  if model == "" and name == "auto" then
    return refuse(handle, "400", "This backend has no model of its own to take for auto: name a model.", "model")
  end
  if model ~= "" and model ~= "inner" then
    if act ~= "scan" then
      content, going = read(handle)
      if not going or asked(handle, content) == false then return end
    end
    -- "=" is written further on, where it is known which backend is asked
    if content and content.from and model ~= "=" then write_model(content, model) end
  end
  handle:headers():replace("x-mb-route", plan["to"][number])
  handle:clearRouteCache()
end

-- The model of the backend of which a worker says that it answered, for logs.
local function name_served(handle)
  local served = handle:metadata():get("served")
  local model = served and served[handle:headers():get("x-moltbot-backend") or ""]
  if model then handle:streamInfo():dynamicMetadata():set("moltbot", "model_served", model) end
end

-- Final routes say what is to be learnt from the answer: the backend drawn by latency, its usage, who served.
function envoy_on_response(handle)
  local context = handle:filterContext()
  local drawn, usage = context:get("learn"), context:get("usage")
  if context:get("hop") then name_served(handle) end
  if drawn then learn_from(handle, drawn) end
  if usage then count_tokens(handle) end
end
