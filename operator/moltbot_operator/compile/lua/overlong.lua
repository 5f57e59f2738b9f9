-- An upstream filter: marks an error that says that the prompt is too long for the model, so that the request is sent to
-- the next backend. Each provider has words of its own for it; anything else is left alone.
local LONGEST = 8192 -- bytes of an error that are read

local TELLING = {
  "context_length_exceeded",                       -- OpenAI, Groq, OpenRouter
  "maximum context length",                        -- vLLM, DeepSeek, Mistral, OpenRouter
  "prompt is too long",                            -- Anthropic
  "exceed the model's maximum",                    -- several servers of open models
  "exceeds the maximum number of tokens",          -- Gemini
  "range of input length",                         -- Qwen
  "exceeded model token limit",                    -- Moonshot
  '"1261"',                                        -- Zhipu
  "exceeds the available context size",            -- llama.cpp
}

local STATUSES = { ["400"] = true, ["413"] = true, ["422"] = true }

function envoy_on_response(handle)
  local headers = handle:headers()
  if not STATUSES[headers:get(":status")] or headers:get("x-mb-fault") then return end
  local body = handle:body()
  if not body then return end
  local text = body:getBytes(0, math.min(body:length(), LONGEST)):lower()
  for _, words in ipairs(TELLING) do
    if text:find(words, 1, true) then
      handle:headers():replace("x-mb-fault", "CL") -- those from before the body was waited for are gone
      return
    end
  end
end
