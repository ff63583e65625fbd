--- What MariaDB knows and the services without it must: p:account:<id>, p:model:<slug> and
-- p:key:<hash> in the main Redis (docs/house.md). Always written from the row as it is now, so it does
-- not matter how often, how late or in which order.
local accounts = require "store.accounts"
local models = require "store.models"
local redis = require "runtime.redis"

local projections = {}

local BATCH = 200

local function replace(key, fields) redis.script("replace_hash", { key }, fields) end

--- Writes one account's; removes it when the account is gone.
function projections.account(id)
  local key = "p:account:" .. id
  local row = accounts.projection(id)
  if not row then
    redis.call("DEL", key)
    return false
  end
  replace(key, { "name", row.name, "role", row.role, "state", row.state, "nbf", tostring(row.nbf) })
  return true
end

--- Writes one model's, with its stream keys; removes revoked keys and the name that it had before.
-- Returns the row, nil for a model that does not exist.
function projections.model(id, old_slug)
  local row = models.projection(id)
  if not row then return nil end
  if old_slug and old_slug ~= row.slug then redis.call("DEL", "p:model:" .. old_slug) end
  replace("p:model:" .. row.slug, {
    "id", tostring(row.id), "account", tostring(row.account_id), "name", row.stage_name,
    "state", row.state, "rate", tostring(row.rate), "version", tostring(row.state_version + row.version),
    "show", tostring(row.show_id), "show_kind", row.show_kind, "show_at", tostring(row.show_at),
    "away", tostring(row.away), "record", tostring(row.record),
    "countries", row.blocked_countries, "networks", row.blocked_networks,
  })
  for _, key in ipairs(row.keys) do
    if key.in_force == 1 then
      replace("p:key:" .. key.hash, { "model", tostring(row.id), "slug", row.slug })
    else
      redis.call("DEL", "p:key:" .. key.hash)
    end
  end
  return row
end

local function walk(ids_after, write)
  local after, count = 0, 0
  while true do
    local ids = ids_after(after, BATCH)
    for _, id in ipairs(ids) do
      write(id)
      count = count + 1
    end
    if #ids < BATCH then return count end
    after = ids[#ids]
  end
end

-- What stands in Redis and belongs to nothing that MariaDB has.
local function remove_strangers(pattern, known)
  local cursor, removed = "0", 0
  repeat
    local reply = redis.call("SCAN", cursor, "MATCH", pattern, "COUNT", 500)
    cursor = reply[1]
    for _, key in ipairs(reply[2]) do
      if not known(key) then removed = removed + redis.call("DEL", key) end
    end
  until cursor == "0"
  return removed
end

--- Writes all of them anew and removes what does not belong. Returns { accounts, models, removed }.
function projections.rebuild()
  local result = {}
  result.accounts = walk(accounts.ids_after, projections.account)
  local slugs, hashes = {}, {}
  result.models = walk(models.ids_after, function(id)
    local row = projections.model(id)
    if not row then return end
    slugs[row.slug] = true
    for _, key in ipairs(row.keys) do
      if key.in_force == 1 then hashes[key.hash] = true end
    end
  end)
  result.removed = remove_strangers("p:account:*", function(key)
    local id = math.tointeger(tonumber(key:match(":(%d+)$")))
    return id and accounts.projection(id) ~= nil
  end) + remove_strangers("p:model:*", function(key) return slugs[key:sub(9)] end)
    + remove_strangers("p:key:*", function(key) return hashes[key:sub(7)] end)
  return result
end

return projections
