--- What becomes of an order: the states of the purchase and what providers may make of them.
--
-- A provider's event is kept with its raw text under (provider, event id) in the transaction that
-- applies it, so a second delivery changes nothing. One that came before its turn is parked, and
-- replayed whenever the order has moved. Credits reach the wallet under the order's own id, however
-- often that is tried; the order is `credited` only after the wallet has said so.
local billing = require "runtime.billing"
local db = require "runtime.db"
local json = require "runtime.json"
local log = require "runtime.log"
local payments = require "store.payments"
local refunds = require "site.refunds"
local store = require "store.orders"

local orders = {}

local REPLAYS_MOST = 20

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
  lost = { disputed = "charged_back" },
  refunded = { credited = "credited", refund_pending = "refund_pending" },
}
-- What follows a payment waits for its turn while the order is in one of these states. Nothing may come
-- after an order that failed, expired or was cancelled but its payment, which a person looks at.
local before_credited = { created = true, redirected = true, pending = true, paid = true, review = true,
  failed = true, expired = true, cancelled = true }
local waits = {
  -- A dispute that comes while a refund is under way waits for its end: refunded, there is nothing to dispute.
  disputed = setmetatable({ refund_pending = true }, { __index = before_credited }),
  refunded = setmetatable({ disputed = true }, { __index = before_credited }),
  won = setmetatable({ credited = true, refund_pending = true }, { __index = before_credited }),
}
waits.lost = waits.won

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

-- The provider's name of the dispute, or ours for providers that have none.
local function dispute_ref(order, event) return event.dispute or "order-" .. order.public_id end

-- What goes with a dispute or its end. False: this dispute has ended already, or has not begun.
local function move_dispute(order, event, tx)
  local known = payments.dispute_by_ref(order.provider, dispute_ref(order, event), tx)
  if event.type == "disputed" then
    if known then return false end
    payments.open_dispute({ order_id = order.id, provider = order.provider, due_by = event.due_by,
      provider_ref = dispute_ref(order, event), amount_minor = event.amount or order.price_minor,
      reason = event.reason }, tx)
    return true
  end
  return known ~= nil and payments.close_dispute(known.id, event.type, tx)
end

local of_dispute = { disputed = true, won = true, lost = true }

-- Applies an event to an order that is locked. Returns "applied", "ignored" or "parked".
local function transition(order, event, tx)
  if event.payment then
    store.set_payment_ref(order.id, event.payment, tx)
    order.payment_ref = order.payment_ref or event.payment
  end
  local to, reason = next_state(order, event)
  local its = of_dispute[event.type] and payments.dispute_by_ref(order.provider, dispute_ref(order, event), tx)
  if its and its.state ~= "open" then return "ignored" end
  if not to then
    local states = waits[event.type]
    if states and states[order.state] then return "parked" end
    if event.type == "disputed" then
      log.warn("payment.dispute_of_nothing", { order = order.public_id, state = order.state, event = event.id })
    end
    return "ignored"
  end
  if of_dispute[event.type] and not move_dispute(order, event, tx) then
    return event.type ~= "disputed" and not its and "parked" or "ignored"
  end
  if event.type == "refunded" then
    refunds.reported(order, event, tx)
  elseif to ~= order.state then
    store.move(order.id, order.state, to, reason, tx)
    order.state = to
  end
  return "applied"
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

local function freeze(order, dispute, frozen)
  billing.freeze {
    op = ("order:%s:dispute:%d:%s"):format(order.public_id, dispute.id, frozen and "opened" or "won"),
    account = order.account_id, frozen = frozen, actor = "system",
    reason = ("order %s is disputed"):format(order.public_id),
  }
end

-- The bank took the payment back: its bonus goes as far as it is still there, then its credits; what is
-- missing becomes a debt, and the wallet stays frozen until a person thaws it.
local function take_back(order, dispute)
  local gone = payments.refunded(order.id)
  local key = ("order:%s:dispute:%d:lost"):format(order.public_id, dispute.id)
  refunds.take_promotion(key .. ":bonus", order.account_id, order.promo_credits - gone.promo_credits)
  local share = order.credits * math.min(dispute.amount_minor, order.price_minor) // order.price_minor
  local amount = math.min(share, order.credits - gone.credits)
  if amount > 0 then
    billing.chargeback { op = key, account = order.account_id, amount = amount, actor = "system",
      reason = ("order %s was charged back"):format(order.public_id) }
  end
end

-- What the wallet must learn of the state that the order is in now. Also after a duplicate: the first
-- delivery may have died before it came so far. Everything here has a key of its own in the wallet.
local function follow_up(order, event)
  local dispute = of_dispute[event.type] and payments.latest_dispute(order.id)
  if order.state == "paid" then
    local ok, reason = pcall(orders.settle, store.by_public_id(order.public_id))
    -- It is paid and stays so; jobs tries again until the wallet answers.
    if not ok then
      log.warn("an order waits for its credits", { order = order.public_id, error = tostring(reason) })
    end
  elseif order.state == "disputed" and dispute then
    freeze(order, dispute, true)
  elseif order.state == "charged_back" and dispute then
    take_back(order, dispute)
  elseif event.type == "won" and order.state == "credited" and dispute and dispute.state == "won"
    and not payments.has_disputes(order.account_id) then
    freeze(order, dispute, false)
  end
  if event.type == "refunded" then refunds.go_on(order.id) end
end

--- Applies the order's parked events whose turn has come. Returns how many.
function orders.replay(public_id)
  for count = 0, REPLAYS_MOST do
    local applied
    db.transaction(function(tx)
      applied = nil
      local order = store.by_public_id(public_id, tx, true)
      for _, row in ipairs(order and payments.parked(order, tx) or {}) do
        local result = transition(order, row.event, tx)
        if result ~= "parked" then
          payments.finish_event(row.id, result, order.id, tx)
          if result == "applied" then
            applied = { order = order, event = row.event }
            break
          end
        end
      end
    end, { retries = 3 })
    if not applied then return count end
    log.info("payment.replayed", { order = public_id, event = applied.event.id, type = applied.event.type })
    follow_up(applied.order, applied.event)
  end
  return REPLAYS_MOST
end

local function find(provider, event, tx)
  local order = event.order and store.by_public_id(event.order, tx, true)
  if not order and event.payment then
    order = store.by_payment_ref(provider, event.payment, tx, true)
  end
  return order and order.provider == provider and order or nil
end

--- Applies an event, as the provider's adapter understood it from `raw`: { id, type, order (public id) or
-- payment (the provider's name of the payment), amount (minor units), currency, and for some: total,
-- dispute, due_by, reason }. Returns what became of it: "applied", "duplicate", "ignored", "parked" or
-- "unknown order". Raises when it, or what the wallet must learn of it, was not done: then the provider
-- must send it again.
function orders.apply(provider, event, raw)
  local order, result
  db.transaction(function(tx)
    order = find(provider, event, tx)
    local id = payments.add_event({
      provider = provider, event_id = event.id, order_id = order and order.id or nil,
      raw = raw or json.encode(event), type = event.type, ref = event.payment,
      detail = json.encode(event),
    }, tx)
    if not id then
      result = "duplicate"
      return
    end
    if order then
      result = transition(order, event, tx)
    else
      -- Its order may get the payment's name only with an event that is still on its way.
      result = event.payment and waits[event.type] and "parked" or "unknown order"
    end
    payments.finish_event(id, result, nil, tx)
  end, { retries = 3 })
  log.info("payment.event", { provider = provider, event = event.id, type = event.type,
    order = order and order.public_id or event.order, result = result })
  if order then
    follow_up(order, event)
    orders.replay(order.public_id)
  end
  return result
end

--- A person decided about an order under review: `to` is "paid" or "cancelled". False if it was not under
-- review any more.
function orders.decide(order, to, reason, tx)
  return store.move(order.id, "review", to, reason, tx)
end

return orders
