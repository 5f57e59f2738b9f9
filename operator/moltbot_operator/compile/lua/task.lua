-- What kind of task a request is (docs/routing.md): by its header, path, model and content, in this order.
local TASKS = { dialog = "Dialog", code = "Code", multimodal = "Multimodal", embedding = "Embedding" }

-- Parts of messages that are no text, as OpenAI's chat and responses and Anthropic's messages call them.
local PARTS = {
  image_url = true, input_image = true, image = true, input_audio = true, audio_url = true, video_url = true,
  file = true, input_file = true, document = true,
}

-- Tools that run or edit code; functions of the client's own may be anything and say nothing.
local CODE_TOOLS = { "code_interpreter", "code_execution", "local_shell", "shell", "apply_patch", "bash_", "text_editor_" }

-- Top-level keys whose values are looked into.
local TELLING = { messages = true, input = true, prompt = true, tools = true }

local MOST_TYPES = 1000
local FENCE_WITHIN = 8192

-- Whether a "type" within the span is one of those wanted. Content can't pretend: its quotes are escaped.
local function has_type(text, span, wanted)
  local at = span.from
  for _ = 1, MOST_TYPES do
    local first, last = find(text, '"type"', at, true)
    if not first or first > span.to then return false end
    local kind = text:match('^%s*:%s*"([%w_]+)"', last + 1)
    if kind and wanted(kind) then return true end
    at = last + 1
  end
  return false
end

local function is_part(kind) return PARTS[kind] end

local function is_code_tool(kind)
  for _, name in ipairs(CODE_TOOLS) do
    if sub(kind, 1, #name) == name then return true end
  end
  return false
end

-- A fenced block of code near the end of the span, where the latest messages are.
local function has_fence(text, span)
  local at = find(text, "```", math.max(span.from, span.to - FENCE_WITHIN), true)
  return at and at <= span.to
end

-- The kind of task and why; nil if the header names none.
local function task_of(header, path, name, content, models)
  if header then return TASKS[header:lower()], "header" end
  path = path:match("^[^?]*")
  if find(path, "/embeddings/?$") then return "Embedding", "path" end
  if find(path, "/audio/", 1, true) or find(path, "/images/", 1, true) then return "Multimodal", "path" end
  if name and models[name] then return models[name], "model" end
  local spans = content and content.spans
  if not spans then return "Dialog", "default" end
  for _, key in ipairs({ "messages", "input" }) do
    if spans[key] and has_type(content.text, spans[key], is_part) then return "Multimodal", "parts" end
  end
  if spans.tools and has_type(content.text, spans.tools, is_code_tool) then return "Code", "tools" end
  for _, key in ipairs({ "messages", "input", "prompt" }) do
    if spans[key] and has_fence(content.text, spans[key]) then return "Code", "fence" end
  end
  return "Dialog", "default"
end
