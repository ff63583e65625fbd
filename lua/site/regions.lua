--- Who may see a room from where: the countries that the site or the model has shut out, and the
-- addresses that she has. Asked by the pages (listing, room, ticket) and, with what the projection says,
-- by hooks and media for each player. Her own account is never shut out.
local config = require "runtime.config"
local geo = require "runtime.geo"
local redis = require "runtime.redis"

local regions = {}

local function listed(list, word)
  return word ~= nil and (" " .. (list or "") .. " "):find(" " .. word .. " ", 1, true) ~= nil
end

--- The country of a request: the proxy's word, if the site trusts one (geo.header), else by the address.
function regions.country(req)
  local header = config.get "geo.header"
  local said = header and req.headers[header:lower()]
  if said and said:find("^%a%a$") then return said:upper() end
  return geo.country(req.remote or "")
end

--- Whether the site itself is shut to a country.
function regions.site_bars(country) return listed(config.get "geo.blocked", country) end

--- rules { countries = "DE AT", networks = "10.0.0.0/8, …" } of a room; whether they bar this visitor.
function regions.bars(rules, country, address)
  if listed(rules.countries, country) then return true end
  return (rules.networks or "") ~= "" and address ~= nil and geo.inside(address, rules.networks)
end

--- For pages: whether a room (store.rooms) is shut to who makes the request.
function regions.bar_room(req, row)
  if req.account and req.account.id == row.account_id then return false end
  if row.blocked_countries == "" and row.blocked_networks == "" and not config.get "geo.blocked" then return false end
  local country = regions.country(req)
  return regions.site_bars(country)
    or regions.bars({ countries = row.blocked_countries, networks = row.blocked_networks }, country, req.remote)
end

--- For hooks and media: true, or false and the reason. info as in lua/hooks/init.lua.
function regions.may_watch(info)
  local said = redis.call("HMGET", "p:model:" .. info.slug, "account", "countries", "networks")
  if info.account and info.account ~= 0 and tostring(info.account) == said[1] then return true end
  -- The page saw the country that a proxy named; here it is the address alone.
  local country = geo.country(info.address)
  if regions.site_bars(country) or regions.bars({ countries = said[2], networks = said[3] }, country, info.address) then
    return false, "not available there"
  end
  return true
end

return regions
