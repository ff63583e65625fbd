--- Purchases that were left between two steps: paid ones get their credits, refunds go on, and what
-- nobody paid is given up.
local log = require "runtime.log"
local orders = require "site.orders"
local payments = require "store.payments"
local refunds = require "site.refunds"
local store = require "store.orders"
local task = require "runtime.task"

local PAUSE = 10         -- seconds between looks
local LEFT_SECONDS = 15  -- by then the request that credits an order has long ended
local REFUND_SECONDS = 60 -- between two tries
local EXPIRE_HOURS = 24
local BATCH = 100

local job = { name = "orders" }

--- One look. Returns how many orders were credited and how many given up.
function job.step(left_seconds)
  local credited = 0
  for _, order in ipairs(store.left_paid(left_seconds or LEFT_SECONDS, BATCH)) do
    local ok, reason = pcall(orders.settle, order)
    if ok then
      credited = credited + 1
      orders.replay(order.public_id)
      log.info("orders.credited_late", { order = order.public_id })
    else
      log.warn("orders.not_credited", { order = order.public_id, error = tostring(reason) })
    end
  end
  for _, refund in ipairs(payments.open_refunds(left_seconds or REFUND_SECONDS, BATCH)) do
    local ok, reason = pcall(refunds.step, refund.id)
    -- What waited for its end: a dispute.
    if ok then ok, reason = pcall(orders.replay, refund.order_public_id) end
    if not ok then log.warn("refund.waits", { refund = refund.id, error = tostring(reason) }) end
  end
  return credited, store.expire(EXPIRE_HOURS)
end

function job.run()
  while true do
    job.step()
    task.sleep(PAUSE)
  end
end

return job
