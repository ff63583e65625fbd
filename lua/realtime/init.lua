-- What the realtime service asks Lua. It delivers by itself; here stands what a message may say.
local moderation = require "moderation"

return {
  -- message: { channel =, room =, text =, from = { id =, name =, role = } }
  -- returns { verdict = "pass" | "change" | "hold" | "drop", text =, reason = }
  on_chat = function(message)
    return moderation.judge(message)
  end,
}
