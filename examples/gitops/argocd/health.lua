-- Health of GetVpnGroup, SecurityAssociation and GroupMember for Argo CD.
-- The same table as in ../README.md; e2e/tests/gitops_health.rs holds it to the same objects as the expressions for Flux.
local function condition(wanted)
  if obj.status == nil or obj.status.conditions == nil then
    return nil
  end
  for _, found in ipairs(obj.status.conditions) do
    if found.type == wanted then
      return found
    end
  end
  return nil
end

local function holds(wanted)
  local found = condition(wanted)
  return found ~= nil and found.status == "True"
end

local function message(wanted, otherwise)
  local found = condition(wanted)
  if found ~= nil and found.message ~= nil and found.message ~= "" then
    return found.message
  end
  return otherwise
end

local seen = obj.status ~= nil and obj.status.observedGeneration == obj.metadata.generation

if holds("Stalled") then
  return { status = "Degraded", message = message("Stalled", "the operator cannot go on by itself") }
end
if holds("Paused") then
  return { status = "Suspended", message = message("Paused", "reconciliation is paused") }
end
if seen and holds("Ready") then
  return { status = "Healthy", message = message("Ready", "ready") }
end
if not seen then
  return { status = "Progressing", message = "the operator has not seen this version yet" }
end
return { status = "Progressing", message = message("Ready", "not ready yet") }
