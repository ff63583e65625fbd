-- A long message in capitals is written in small letters.
local FROM = 12

return function(message)
  local _, upper = message.text:gsub("%u", "")
  local _, lower = message.text:gsub("%l", "")
  if upper >= FROM and upper > 3 * lower then
    return { verdict = "change", text = message.text:lower() }
  end
end
