-- Whose token it is: the first of CONSUMERS (in the order of the spec) whose issuer verified it and whose audiences and
-- claims it has. Nobody's is refused here, and so is one that is signed by no key pair: jwt_authn would take HMAC too.

-- Whether a claim is `wanted`, or a list that holds it. Numbers count as they are written in decimal, as long as
-- a double holds them exactly.
local function says(claim, wanted)
  local kind = type(claim)
  if kind == "string" then return claim == wanted end
  if kind == "boolean" then return tostring(claim) == wanted end
  if kind == "number" then
    if claim % 1 == 0 then return math.abs(claim) < 2 ^ 53 and string.format("%.0f", claim) == wanted end
    return tostring(claim) == wanted
  end
  if kind == "table" then
    for _, item in ipairs(claim) do
      if type(item) ~= "table" and says(item, wanted) then return true end
    end
  end
  return false
end

local function is_for(payload, audiences)
  if #audiences == 0 then return true end
  for _, audience in ipairs(audiences) do
    if says(payload.aud, audience) then return true end
  end
  return false
end

local function has(payload, claims)
  for name, wanted in pairs(claims) do
    if not says(payload[name], wanted) then return false end
  end
  return true
end

-- The consumer's name; or nil and why there is none.
local function whose(found)
  local why = "The token's signature was not verified."
  for _, consumer in ipairs(CONSUMERS) do
    local payload = found[consumer.issuer]
    if payload then
      if not ALGORITHMS[found[consumer.issuer .. " header"].alg] then
        return nil, "The token must be signed with a private key (RS, PS, ES or EdDSA)."
      end
      if not is_for(payload, consumer.audiences) then
        why = "The token is for another audience (aud) than this gateway's."
      elseif not has(payload, consumer.claims) then
        why = "The token is valid, and its claims are no consumer's of this gateway."
      else
        return consumer.name
      end
    end
  end
  return nil, why
end

function envoy_on_request(handle)
  local found = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local sound, name, why = pcall(whose, found or {})
  if sound and name then
    handle:headers():replace("x-mb-consumer", name)
    return
  end
  handle:respond(
    {
      [":status"] = "401",
      ["content-type"] = "application/json",
      ["www-authenticate"] = 'Bearer error="invalid_token"',
    },
    '{"error": {"message": "' .. (sound and why or "The token can't be read.")
      .. '", "type": "invalid_request_error", "param": null, "code": "invalid_token"}}'
  )
end
