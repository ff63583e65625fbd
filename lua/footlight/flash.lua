--- Words for the next page, after a redirect: a signed cookie, so that guests have them too.
local secret = require "footlight.secret"
local json = require "runtime.json"

local flash = {}

local COOKIE = "flash"
local MOST, SIZE = 5, 1500
local kinds = { info = true, success = true, warning = true, error = true }

local function encode(list)
  local text = json.encode(list)
  local hex = text:gsub("[^%w]", function(char) return ("%%%02X"):format(char:byte()) end)
  return hex .. "." .. secret.sign("flash:" .. text)
end

local function decode(value)
  local hex, mac = value:match("^(.*)%.([^.]*)$")
  if not hex then return {} end
  local text = hex:gsub("%%(%x%x)", function(pair) return string.char(tonumber(pair, 16)) end)
  if not secret.signed("flash:" .. text, mac) then return {} end
  local ok, list = pcall(json.decode, text)
  return ok and type(list) == "table" and list or {}
end

local function load(req)
  if not req.flash_list then
    local value = req:cookie(COOKIE)
    req.flash_list = value and decode(value) or {}
    req.flash_sent = value ~= nil
  end
  return req.flash_list
end

function flash.add(req, text, kind)
  kind = kind or "info"
  if not kinds[kind] then error(("there is no kind of flash '%s'"):format(tostring(kind)), 3) end
  local list = load(req)
  list[#list + 1] = { text = tostring(text), kind = kind }
  while #list > MOST or (#list > 1 and #encode(list) > SIZE) do table.remove(list, 1) end
end

--- The list, for a page that shows it; after that it is empty.
function flash.take(req)
  local list = load(req)
  req.flash_list = {}
  return list
end

--- Writes the cookie, at the end of the request, if there is something to keep or to forget.
function flash.save(req)
  local list = req.flash_list
  if not list then return end
  if #list > 0 then
    req:set_cookie(COOKIE, encode(list), { max_age = 300 })
  elseif req.flash_sent then
    req:clear_cookie(COOKIE)
  end
end

return flash
