-- The rules that a chat message passes, one after the other. A rule is a file in moderation/rules
-- that returns function(message): nil for no opinion, or
--   { verdict = "change", text = … }            the rules behind it see the new text
--   { verdict = "hold", reason = … }            a moderator decides; the sender is told
--   { verdict = "drop", reason = … }            the sender is told, and nobody else
-- They run in this order: those that tidy a text first, so that the others judge what would be shown.
local order = { "repeats", "shouting", "links", "words" }

local rules = {}
for i, name in ipairs(order) do
  rules[i] = { name = name, check = require("moderation.rules." .. name) }
end

local function judge(message)
  local changed = false
  for _, rule in ipairs(rules) do
    local opinion = rule.check(message)
    if opinion and opinion.verdict == "change" then
      message.text, changed = opinion.text, true
    elseif opinion then
      opinion.rule = rule.name
      return opinion
    end
  end
  if changed then return { verdict = "change", text = message.text } end
  return { verdict = "pass" }
end

return { judge = judge, rules = rules }
