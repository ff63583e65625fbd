--- Earnings that have rested become payable, and months that are over get their statements.
local flow = require "site.payouts.flow"
local log = require "runtime.log"
local store = require "store.payouts"
local task = require "runtime.task"

local PAUSE = 600 -- seconds
local BATCH = 500

local job = { name = "payouts" }

--- One look at all who have earned anything. Returns how many had something released.
function job.step(now)
  local date = os.date("!*t", now or os.time())
  -- From the second day on: what was watched in the last minute of a month has long been booked.
  local month = date.day >= 2 and os.date("!%Y-%m", os.time { year = date.year, month = date.month, day = 1,
    hour = 12 } - 86400 * 2)
  local after, released = 0, 0
  while true do
    local models = store.earners(after, BATCH)
    for _, model in ipairs(models) do
      after = model.id
      local ok, amount = pcall(flow.release, model.id)
      if ok and amount > 0 then released = released + 1 end
      if not ok then log.warn("payouts.not_released", { model = model.id, error = tostring(amount) }) end
      if month then flow.close_month(model.id, month) end
    end
    if #models < BATCH then return released end
  end
end

function job.run()
  while true do
    job.step()
    task.sleep(PAUSE)
  end
end

return job
