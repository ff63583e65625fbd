--- What was watched of a show, as hooks and media write it down: show:<id> in the main Redis, one field a
-- session (docs/streaming.md).
local redis = require "runtime.redis"
local task = require "runtime.task"

local evidence = {}

local FRESH_MS = 10000 -- a session that was not written down for so long is not watching

function evidence.none() return { watched_ms = 0, metered = 0, last = 0, open = false, sids = {} } end

--- Account id → { watched_ms, metered, open, last (ms), reason (of the last session), sids = { { sid, price } } }.
function evidence.of(show_id)
  local reply = redis.call("HGETALL", "show:" .. show_id)
  local now, found = task.now_ms(), {}
  for i = 1, #reply, 2 do
    local account, began, seen, state, price, reason =
      reply[i + 1]:match("^(%d+) (%d+) (%d+) (%l+) (%-?%d+) (.*)$")
    account, began = math.tointeger(tonumber(account)), math.tointeger(tonumber(began))
    seen, price = math.tointeger(tonumber(seen)), math.tointeger(tonumber(price))
    if account and began and seen and price then
      local mine = found[account] or evidence.none()
      found[account] = mine
      mine.watched_ms = mine.watched_ms + math.max(seen - began, 0)
      mine.metered = mine.metered + math.max(price, 0)
      if state == "open" and now - seen < FRESH_MS then mine.open = true end
      if seen >= mine.last then mine.last, mine.reason = seen, reason end
      mine.sids[#mine.sids + 1] = { sid = reply[i], price = price }
    end
  end
  return found
end

--- The key of what is set aside for a participant.
function evidence.hold_of(show_id, account) return ("show:%d:%d"):format(show_id, account) end

return evidence
