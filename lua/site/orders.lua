--- What becomes of an order: the states of the purchase and what providers may make of them.
--
-- A provider's event is kept with its raw text under (provider, event id) in the transaction that
-- applies it, so a second delivery changes nothing. Credits reach the wallet under the order's own
-- id, however often that is tried; the order is `credited` only after the wallet has said so.
local billing = require "runtime.billing"
local db = require "runtime.db"
local json = require "runtime.json"
local log = require "runtime.log"
local store = require "store.orders"

local orders = {}

-- event type → state of the order → its next state. What is not named here is kept and ignored, or
-- parked if the event may simply have come too early.
local moves = {
  pending = { created = "pending", redirected = "pending" },
  paid = { created = "paid", redirected = "paid", pending = "paid", expired = "review",
    cancelled = "review", failed = "review" },
  failed = { created = "failed", redirected = "failed", pending = "failed" },
  expired = { created = "expired", redirected = "expired", pending = "expired" },
  cancelled = { created = "cancelled", redirected = "cancelled", pending = "cancelled" },
  disputed = { credited = "disputed" },
  won = { disputed = "credited" },
  refunded = { refund_pending = "refunded" },
}
-- These follow a payment; before it they wait for their turn.
local later = { disputed = true, won = true, refunded = true }

local function next_state(order, event)
  local to = moves[event.type] and moves[event.type][order.state]
  if to == "paid" then
    if event.currency ~= order.currency then return "review", "wrong currency" end
    if event.amount ~= order.price_minor then return "review", "wrong amount" end
  elseif to == "review" then
    return to, "paid after the order was " .. order.state
  end
  return to
end

--- Credits a paid order. Safe to repeat at any time; `jobs` does so for orders that were left paid.
function orders.settle(order)
  if order.state ~= "paid" then return order end
  billing.credit {
    op = "order:" .. order.public_id, account = order.account_id, amount = order.credits,
    bucket = "paid", type = "purchase", reason = "order " .. order.public_id, actor = "system",
  }
  if order.promo_credits > 0 then
    billing.credit {
      op = "order:" .. order.public_id .. ":bonus", account = order.account_id,
      amount = order.promo_credits, bucket = "bonus", type = "promotion",
      reason = "order " .. order.public_id, actor = "system",
    }
  end
  store.move(order.id, "paid", "credited")
  return store.by_public_id(order.public_id)
end

-- What the wallet must learn of the state that the order is in now. Also after a duplicate: the first
-- delivery may have died before it came so far. Everything here has a key of its own in the wallet.
local function follow_up(order, event)
  if order.state == "paid" then
    local ok, reason = pcall(orders.settle, store.by_public_id(order.public_id))
    -- It is paid and stays so; jobs tries again until the wallet answers.
    if not ok then
      log.warn("an order waits for its credits", { order = order.public_id, error = tostring(reason) })
    end
  elseif order.state == "disputed" or event.type == "won" and order.state == "credited" then
    local frozen = order.state == "disputed"
    billing.freeze {
      op = ("dispute:%s:%s"):format(order.public_id, frozen and "opened" or "won"),
      account = order.account_id, frozen = frozen, actor = "system",
      reason = ("order %s is disputed"):format(order.public_id),
    }
  end
end

--- Applies an event: { id, type, order (public id), amount (minor units), currency }, as the
-- provider's adapter understood it from `raw`. Returns what became of it: "applied", "duplicate",
-- "ignored", "parked" or "unknown order".
function orders.apply(provider, event, raw)
  local order, result
  db.transaction(function(tx)
    order = store.by_public_id(event.order, tx, true)
    if order and order.provider ~= provider then order = nil end
    local id = store.add_event({
      provider = provider, event_id = event.id, order_id = order and order.id or nil,
      raw = raw or json.encode(event),
    }, tx)
    if not id then
      result = "duplicate"
      return
    end
    if not order then
      result = "unknown order"
    else
      local to, reason = next_state(order, event)
      if to then
        store.move(order.id, order.state, to, reason, tx)
        order.state = to
        result = "applied"
      else
        result = later[event.type] and not moves.paid[order.state] and "ignored"
          or later[event.type] and "parked" or "ignored"
      end
    end
    store.finish_event(id, result, tx)
  end)
  log.info("payment.event", { provider = provider, event = event.id, type = event.type,
    order = event.order, result = result })
  if order then follow_up(order, event) end
  return result
end

return orders
