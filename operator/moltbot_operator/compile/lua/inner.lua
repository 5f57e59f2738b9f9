-- Writes the model of the backend that this attempt goes to into the body.
function envoy_on_request(handle)
  spare_the_collector()
  local name = handle:filterContext():get("model")
  if not name then return end
  local content = read(handle)
  if content and content.from then write_model(content, name) end
end
