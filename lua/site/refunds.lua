--- Giving a purchase back, whole or in part. A refund is written down before anything is done, then:
--
--   requested → (the wallet gives the credits back) taken → (written before the call) sent → done
--
-- Each step has a key of its own, so `jobs` may go on with any refund at any time. Refused: the wallet
-- does not have the credits any more, or the provider said no; then nothing has changed in the end.
local billing = require "runtime.billing"
local db = require "runtime.db"
local log = require "runtime.log"
local payments = require "store.payments"
local providers = require "site.payments"
local store = require "store.orders"

local refunds = {}

-- What goes with so much of the price, after what went before: exact to the last micro-credit, because
-- each is the difference of two totals.
local function share_of(total, price, before, amount)
  return total * (before + amount) // price - total * before // price
end

local function add(order, values, tx)
  local gone = payments.refunded(order.id, tx)
  return payments.add_refund({
    order_id = order.id, idem_key = values.key, source = values.source, amount_minor = values.amount,
    credits = share_of(order.credits, order.price_minor, gone.amount_minor, values.amount),
    promo_credits = share_of(order.promo_credits, order.price_minor, gone.amount_minor, values.amount),
    reason = values.reason or "", created_by = values.actor,
  }, tx)
end

--- Asks for a refund: { order (public id), amount, key, reason, actor }. Returns the refund's row; or nil
-- and "not_credited", "too_much" or "other_content" (the key was used for another amount).
function refunds.request(values, tx)
  local order = store.by_public_id(values.order, tx, true)
  local known = payments.refund_by_key(order.id, values.key, tx)
  if known then
    if known.amount_minor ~= values.amount then return nil, "other_content" end
    return known
  end
  -- Never on a disputed charge: the bank would give the money back a second time.
  if order.state ~= "credited" then return nil, "not_credited" end
  local gone = payments.refunded(order.id, tx)
  if values.amount < 1 or gone.amount_minor + values.amount > order.price_minor then return nil, "too_much" end
  local id = add(order, { key = values.key, source = "staff", amount = values.amount,
    reason = values.reason, actor = values.actor }, tx)
  if gone.amount_minor + values.amount == order.price_minor then
    store.move(order.id, "credited", "refund_pending", nil, tx)
  end
  return payments.refund(id, tx)
end

--- Takes up to `amount` of promotional credits; the amount that was there. `planned` is what a try before
-- wanted to take, and `plan` writes it down before it is tried: only so does a repeat ask for the same.
function refunds.take_promotion(op, account, amount, planned, plan)
  for _ = 1, 5 do
    local there = planned or math.min(amount, billing.wallet(account).bonus)
    if there <= 0 then return 0 end
    if plan then plan(there) end
    local wallet, reason = billing.debit { op = op, account = account, amount = there, type = "promotion",
      reason = "the purchase was taken back", actor = "system" }
    -- Taken before, when there was another amount: that was then the whole.
    if wallet or reason == "duplicate" then return there end
    if reason ~= "no_funds" then error("the wallet gave no bonus back: " .. tostring(reason), 0) end
    planned = nil
  end
  if plan then plan(0) end
  return 0
end

local function op_of(refund) return ("order:%s:refund:%d"):format(refund.order_public_id, refund.id) end

-- An order that is given back whole is `refunded` once all of it is done, and credited again when the
-- last part of it was refused.
local function move_order(order_id, public_id, tx)
  local order = store.by_public_id(public_id, tx, true)
  local done = 0
  for _, refund in ipairs(payments.refunds_of(order_id, tx)) do
    if refund.state == "done" then done = done + refund.amount_minor end
  end
  if done >= order.price_minor then
    if order.state == "credited" then store.move(order.id, "credited", "refund_pending", nil, tx) end
    if order.state == "credited" or order.state == "refund_pending" then
      store.move(order.id, "refund_pending", "refunded", nil, tx)
    end
  elseif order.state == "refund_pending" and payments.refunded(order_id, tx).amount_minor < order.price_minor then
    store.move(order.id, "refund_pending", "credited", "a refund was refused", tx)
  end
end

local function finish(refund, from, to, values)
  db.transaction(function(tx)
    if payments.move_refund(refund.id, from, to, values, tx) then
      move_order(refund.order_id, refund.order_public_id, tx)
    end
  end, { retries = 3 })
end

local function give_back(refund, order)
  local function credit(op, amount, bucket, kind)
    if amount == 0 then return end
    billing.credit { op = op, account = order.account_id, amount = amount, bucket = bucket, type = kind,
      reason = "the refund of order " .. order.public_id .. " was refused", actor = "system" }
  end
  credit(op_of(refund) .. ":back", refund.credits, "paid", "purchase")
  credit(op_of(refund) .. ":back:bonus", refund.promo_taken, "bonus", "promotion")
end

local function take(refund, order)
  if refund.credits > 0 then
    local wallet, reason = billing.debit { op = op_of(refund), account = order.account_id,
      amount = refund.credits, type = "purchase", reason = "refund of order " .. order.public_id,
      actor = refund.created_by and "account:" .. refund.created_by or "system" }
    if not wallet and refund.source == "provider" then
      -- The money is gone already: what is spent becomes a debt, as with a chargeback.
      billing.chargeback { op = op_of(refund) .. ":debt", account = order.account_id,
        amount = refund.credits, reason = "order " .. order.public_id .. " was refunded by its provider",
        actor = "system" }
    elseif not wallet then
      return finish(refund, "requested", "refused", { reason = "the wallet: " .. tostring(reason) })
    end
  end
  local promo = refunds.take_promotion(op_of(refund) .. ":bonus", order.account_id, refund.promo_credits,
    refund.promo_taken > 0 and refund.promo_taken or nil,
    function(amount) payments.plan_promotion(refund.id, amount) end)
  if refund.source == "provider" then return finish(refund, "requested", "done", { promo_taken = promo }) end
  if not payments.move_refund(refund.id, "requested", "taken", { promo_taken = promo }) then
    -- Somebody who went on with it at the same time found the wallet empty a moment before.
    refund = payments.refund(refund.id)
    if refund.state == "refused" then give_back(refund, order) end
  end
end

local function send(refund, order)
  local adapter = providers.adapter(order.provider)
  if not adapter then return end -- it was switched off: the refund waits
  local ok, answer, reason = pcall(adapter.refund, order, refund)
  if not ok then answer, reason = nil, tostring(answer) end
  if answer == "done" then
    finish(refund, "sent", "done", { provider_ref = reason })
  elseif answer == "refused" then
    give_back(refund, order)
    finish(refund, "sent", "refused", { reason = "the provider: " .. tostring(reason) })
  elseif not answer then
    -- Nobody knows whether it arrived. It stays sent; the same call again, or an event, will tell.
    log.warn("refund.unknown", { refund = refund.id, error = tostring(reason) })
  end
end

--- Takes a refund as far as it goes now. Safe to repeat.
function refunds.step(id)
  local refund = payments.refund(id)
  if not refund then return end
  local order = store.by_public_id(refund.order_public_id)
  if refund.state == "requested" then
    take(refund, order)
    refund = payments.refund(id)
  end
  if refund.state == "taken" then
    payments.move_refund(id, "taken", "sent")
    refund = payments.refund(id)
  end
  if refund.state == "sent" then
    payments.touch_refund(id)
    send(refund, order)
  end
end

--- The provider reports a refund of a locked order: `event.amount` of this one, or `event.total` of all
-- together. Ours are done by it; what is beyond them, the provider gave back by itself.
function refunds.reported(order, event, tx)
  local done = 0
  local rows = payments.refunds_of(order.id, tx)
  for _, refund in ipairs(rows) do
    if refund.state == "done" or refund.source == "provider" then done = done + refund.amount_minor end
  end
  local total = math.min(event.total or done + event.amount, order.price_minor)
  for _, refund in ipairs(rows) do
    if refund.source == "staff" and (refund.state == "sent" or refund.state == "taken")
      and done + refund.amount_minor <= total then
      payments.move_refund(refund.id, refund.state, "done", nil, tx)
      done = done + refund.amount_minor
    end
  end
  local left = order.price_minor - payments.refunded(order.id, tx).amount_minor
  if total > done and left > 0 then
    add(order, { key = "event:" .. event.id:sub(1, 50), source = "provider",
      amount = math.min(total - done, left), reason = "reported by the provider" }, tx)
  end
  move_order(order.id, order.public_id, tx)
end

--- Goes on with an order's refunds that have not been taken from the wallet yet.
function refunds.go_on(order_id)
  for _, refund in ipairs(payments.refunds_of(order_id)) do
    if refund.state == "requested" then refunds.step(refund.id) end
  end
end

return refunds
