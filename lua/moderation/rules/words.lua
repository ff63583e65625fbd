-- Words that a site does not want to read: the setting moderation.words, separated by commas. They
-- are matched whole and without regard to case; the message goes to a moderator.
local config = require "runtime.config"

local unwanted = {}
for word in tostring(config.get("moderation.words", "")):gmatch("[^,%s]+") do
  unwanted[word:lower()] = true
end

return function(message)
  if next(unwanted) == nil then return nil end
  for word in message.text:lower():gmatch("[^%s%p]+") do
    if unwanted[word] then
      return { verdict = "hold", reason = "A moderator looks at your message first." }
    end
  end
end
