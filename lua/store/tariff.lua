--- What a session in a room costs beside the room's rate: numbers of the settings, with history. Whoever
-- opened a session keeps the terms that stood in the ticket.
local db = require "runtime.db"

local tariff = {}

local CREDIT = 1000000

--- What may be set: the setting's name → its bounds and how it is called in a ticket.
tariff.names = {
  ["billing.increment_seconds"] = { least = 1, most = 3600, ticket = "increment" },
  ["billing.free_seconds"] = { least = 0, most = 3600, ticket = "free" },
  ["billing.minimum_charge"] = { least = 0, most = 1000 * CREDIT, ticket = "minimum" },
  ["billing.off_bp"] = { least = 0, most = 9999, ticket = "off" },
  ["billing.preview_seconds"] = { least = 0, most = 600, ticket = "preview" },
}

--- { increment, free, minimum, off, preview } as of now. What was never set is 0.
function tariff.current(tx)
  local found = { increment = 0, free = 0, minimum = 0, off = 0, preview = 0 }
  for _, row in ipairs((tx or db).rows [[
    SELECT s.name, CAST(JSON_VALUE(s.value, '$') AS SIGNED) AS number FROM settings s
    WHERE s.name LIKE 'billing.%' AND s.version = (SELECT MAX(version) FROM settings n WHERE n.name = s.name)]]) do
    local known = tariff.names[row.name]
    if known then found[known.ticket] = row.number end
  end
  return found
end

--- Sets one from now on; nil and the bounds if it is out of them.
function tariff.set(name, number, reason, tx)
  local known = tariff.names[name]
  if number < known.least or number > known.most then return nil, known end
  return (tx or db).exec([[
    INSERT INTO settings (name, version, value, reason)
    SELECT ?, last.version + 1, ?, ?
    FROM (SELECT COALESCE(MAX(version), 0) AS version FROM settings WHERE name = ?) AS last]],
    name, tostring(number), reason, name) == 1
end

--- All versions of one, the newest first.
function tariff.history(name)
  return db.rows([[
    SELECT version, CAST(JSON_VALUE(value, '$') AS SIGNED) AS number, reason, changed_at
    FROM settings WHERE name = ? ORDER BY version DESC]], name)
end

return tariff
