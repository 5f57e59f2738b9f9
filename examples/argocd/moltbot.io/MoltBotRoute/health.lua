-- Health of a MoltBotRoute for Argo CD: what its conditions say, and nothing that they don't.

local function find(kind)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, condition in ipairs(obj.status.conditions) do
      if condition.type == kind then return condition end
    end
  end
  return nil
end

local function is(kind)
  local condition = find(kind)
  return condition ~= nil and condition.status == "True"
end

local function said(status, condition)
  return { status = status, message = (condition.reason or "") .. ": " .. (condition.message or "") }
end

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not looked at this spec yet" }
end
if is("Stalled") then return said("Degraded", find("Stalled")) end
if is("RolloutPaused") then return said("Suspended", find("RolloutPaused")) end
if is("Reconciling") then return said("Progressing", find("Reconciling")) end
if is("Degraded") then return said("Degraded", find("Degraded")) end
local ready = find("Ready")
if ready == nil then return { status = "Progressing", message = "The operator has not said yet how it stands" } end
if ready.status == "True" then return said("Healthy", ready) end
local resolved = find("ResolvedRefs")
if resolved ~= nil and resolved.status == "False" then return said("Degraded", resolved) end
return said("Progressing", ready)
