-- Links lead people off the site, and are what spam is made of. Staff may post them, and whoever is in
-- a room that lets them pass.
local trusted = { moderator = true, admin = true, model = true }
local endings = { com = true, net = true, org = true, info = true, io = true, me = true, tv = true,
  xxx = true, link = true, live = true, ru = true, cc = true, to = true }

local function has_link(text)
  local folded = text:lower()
  if folded:find("https?:") or folded:find("www%.") then return true end
  for ending in folded:gmatch("[%w-]+%.(%a+)") do
    if endings[ending] then return true end
  end
  return false
end

return function(message)
  if message.links or trusted[message.from.role] or not has_link(message.text) then return nil end
  return { verdict = "drop", reason = "Links are not allowed here." }
end
