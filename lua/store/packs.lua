--- Packs of credits that are for sale. Prices come from here and from nowhere else.
local db = require "runtime.db"

local packs = {}

local columns = [[
  SELECT id, name, label, credits, promo_credits, price_minor, currency, offered FROM packs ]]

function packs.offered() return db.rows(columns .. "WHERE offered ORDER BY position, id") end

--- A pack that is for sale, or nil.
function packs.by_name(name) return db.one(columns .. "WHERE name = ? AND offered", name) end

return packs
