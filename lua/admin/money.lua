--- What the pages of staff that move money have in common.
local crypto = require "runtime.crypto"
local format = require "footlight.format"

local money = {}

--- Staff type their password again for whatever moves money. True, or false: say admin.wrong_password.
function money.proved(req, password)
  local hash = req.account.password_hash
  return hash ~= nil and password ~= nil and crypto.password_verify(hash, password)
end

--- "10.99" → 1099; nil for anything else. Integers only, as everywhere.
function money.parse(text)
  local whole, cents = (text or ""):match("^(%d+)[.,](%d%d)$")
  whole = whole or (text or ""):match("^(%d+)$")
  if not whole or #whole > 7 then return nil end
  return math.tointeger(tonumber(whole)) * 100 + math.tointeger(tonumber(cents or "0"))
end

--- 1099 → "10.99", as it is typed.
function money.typed(minor) return ("%d.%02d"):format(minor // 100, minor % 100) end

--- A moment for a template: { iso, text }.
function money.time(value, req)
  return { iso = format.iso(value), text = format.datetime(value, req.locale) }
end

--- What a query asks for, of a list of words; nil for none or another.
function money.choice(value, list)
  for _, word in ipairs(list) do
    if word == value then return word end
  end
end

function money.options(list, prefix, req)
  local options = { { value = "", label = req.t("admin.any_state") } }
  for _, word in ipairs(list) do options[#options + 1] = { value = word, label = req.t(prefix .. word) } end
  return options
end

return money
