-- Policy of the hooks service: who may broadcast and who may watch by RTMP, beyond what the core has
-- decided already (key and ticket are genuine, the model is approved and live, the account is
-- active, the ticket is unused). Return false and a reason to refuse; anything else allows. A policy
-- that raises has refused. Keep it short: an encoder or a player waits for the answer.
--
-- The core asks only for what this table defines. To close the site to broadcasts at night:
--
--   function hooks.on_publish(info)            -- info: slug, model, address
--     if os.date("!*t").hour < 6 then return false, "we open at six" end
--   end
--
--   function hooks.on_play(info) … end         -- info: also account, rate, show, policy

---@class HooksQuestion
---@field slug string
---@field model integer
---@field address string
---@field account integer? on_play only, as the ones below
---@field rate integer?
---@field show integer?
---@field policy "preview"|"free"|"paid"|"private"|"group"|"spy"|"ticket"|nil

local regions = require "site.regions"

local hooks = {}

---@param info HooksQuestion
function hooks.on_play(info) return regions.may_watch(info) end

return hooks
