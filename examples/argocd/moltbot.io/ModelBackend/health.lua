-- Health of a ModelBackend for Argo CD: whether routes can use it. An objective that is not met makes it Degraded.

local function find(kind)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, condition in ipairs(obj.status.conditions) do
      if condition.type == kind then return condition end
    end
  end
  return nil
end

local function said(status, condition)
  return { status = status, message = (condition.reason or "") .. ": " .. (condition.message or "") }
end

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not looked at this spec yet" }
end
local stalled, ready, objectives = find("Stalled"), find("Ready"), find("ObjectivesMet")
if stalled ~= nil and stalled.status == "True" then return said("Degraded", stalled) end
if ready == nil then return { status = "Progressing", message = "The operator has not said yet how it stands" } end
if ready.status ~= "True" then return said("Degraded", ready) end
if objectives ~= nil and objectives.status == "False" then return said("Degraded", objectives) end
return said("Healthy", ready)
