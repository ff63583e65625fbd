--- What payment providers have in their books against our orders: who paid without credits, who got credits
-- without paying, and sums that differ. An adapter with books has
--
--   payments(from, to)   what was paid in it between two moments (seconds): { order = public id or nil, payment,
--                        amount, currency, refunded, disputed }; or nil, why
--
-- What is younger than a few minutes may still be on its way and is left out.
local providers = require "site.payments"
local store = require "store.reconciliation"

local reconcile = {}

local ON_THE_WAY = 600 -- seconds
local DAY = 86400

-- What is wrong with one payment of the provider's, or nil; and the order that it belongs to.
local function compare(provider, payment)
  local order = store.order_of_payment(provider, payment.order, payment.payment)
  if not order then return "is of no order of ours" end
  if order.paid_at == nil and order.state ~= "review" then return "was paid, the order is " .. order.state, order end
  if payment.currency ~= order.currency or payment.amount ~= order.price_minor then
    -- Under review it stands already where a person looks.
    if order.state == "review" then return nil, order end
    return ("is over %d %s, the order over %d %s"):format(payment.amount, payment.currency, order.price_minor,
      order.currency), order
  end
  if payment.disputed and order.disputes == 0 then return "is disputed, and nobody has told us", order end
  if payment.refunded < order.refunded or payment.refunded > order.refunded + order.refunding then
    return ("gave %d back, our refunds %d"):format(payment.refunded, order.refunded), order
  end
  return nil, order
end

--- Compares one provider between two moments (seconds). Returns the differences, each { provider, order,
-- account, payment, problem }, and how many payments were compared; or nil and why it could not be asked.
function reconcile.provider(adapter, from, to)
  -- A day more on both sides: clocks and time zones of others.
  local payments, reason = adapter.payments(from - DAY, to + DAY)
  if not payments then return nil, reason end
  local differences, seen = {}, {}
  local function note(payment, order, problem)
    differences[#differences + 1] = { provider = adapter.name, payment = payment, order = order and order.public_id,
      account = order and order.account_id, problem = problem }
  end
  for _, payment in ipairs(payments) do
    local problem, order = compare(adapter.name, payment)
    if order then
      if seen[order.public_id] then problem = problem or "is the second of its order" end
      seen[order.public_id] = true
    end
    if problem then note(payment.payment, order, problem) end
  end
  for _, order in ipairs(store.paid_orders(adapter.name, from, to)) do
    if not seen[order.public_id] then
      note(order.payment_ref, order, "the order is " .. order.state .. ", the provider has no payment of it")
    end
  end
  return differences, #payments
end

--- All providers that keep books, over the last days. Returns the differences, name → number of payments
-- compared, and name → why a provider could not be asked.
function reconcile.all(days, now)
  now = now or os.time()
  local differences, compared, failed = {}, {}, {}
  for _, adapter in ipairs(providers.enabled()) do
    if adapter.payments then
      local found, count = reconcile.provider(adapter, now - days * DAY, now - ON_THE_WAY)
      if found then
        compared[adapter.name] = count
        table.move(found, 1, #found, #differences + 1, differences)
      else
        failed[adapter.name] = count
      end
    end
  end
  return differences, compared, failed
end

return reconcile
