--- Redis against the ledger, wallet by wallet, and orders against what was booked for them, while
-- everything runs.
local billing = require "runtime.billing"
local db = require "runtime.db"
local ledger = require "store.ledger"

local reconciliation = {}

--- What is wrong with one wallet as it was read: nil, or "waiting" when the ledger has not come that far, or
-- a sentence; and what the ledger has.
function reconciliation.compare(wallet)
  local booked = ledger.wallet(wallet.account, wallet.seq)
  if booked.seq < wallet.seq then return "waiting", booked end
  if booked.changes ~= wallet.seq then
    return ("the ledger has %d of %d changes"):format(booked.changes, wallet.seq), booked
  end
  if wallet.paid < 0 or wallet.bonus < 0 or wallet.held < 0 then return "an amount is below zero", booked end
  if wallet.paid + wallet.bonus + wallet.held ~= booked.paid + booked.bonus then
    return "the balance differs", booked
  end
  if wallet.debt ~= booked.debt then return "the debt differs", booked end
  local newest = ledger.wallet(wallet.account)
  if newest.seq > wallet.seq then
    -- Changes that came after Redis was read are right; a wallet that stands still behind is not.
    local again = billing.wallet(wallet.account)
    if again.seq < newest.seq then return "Redis has forgotten changes that the ledger has", newest end
  end
  return nil
end

--- Purchases that disagree with their orders: credited ones of which the ledger has nothing or another sum,
-- and booked ones whose order was not paid. At most `count`; orders younger than a minute may be on the way.
function reconciliation.orders(count)
  return db.rows([[
    SELECT o.public_id, o.account_id, o.state, o.credits, CAST(JSON_VALUE(t.detail, '$.paid') AS SIGNED) AS paid,
           CAST(JSON_VALUE(t.detail, '$.debt') AS SIGNED) AS debt
    FROM orders o LEFT JOIN ledger_txns t ON t.idem_key = CONCAT('order:', o.public_id)
    WHERE o.updated_at < UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AND (
      (o.credited_at IS NOT NULL AND (t.id IS NULL OR t.account_id <> o.account_id
        OR JSON_VALUE(t.detail, '$.paid') - JSON_VALUE(t.detail, '$.debt') <> o.credits))
      OR (o.paid_at IS NULL AND t.id IS NOT NULL))
    ORDER BY o.id LIMIT ?]], count)
end

--- Transactions behind `after` whose legs do not sum to zero, of the next `count`; and the last that was
-- looked at.
function reconciliation.unbalanced(after, count, tx)
  local next_ones = "(SELECT id, idem_key, account_id FROM ledger_txns WHERE id > ? ORDER BY id LIMIT ?) AS t"
  local last = (tx or db).one("SELECT CAST(COALESCE(MAX(t.id), ?) AS SIGNED) AS id FROM " .. next_ones, after, after, count).id
  return (tx or db).rows([[
    SELECT t.id, t.idem_key, t.account_id, w.currency, CAST(SUM(e.amount) AS SIGNED) AS sum
    FROM ]] .. next_ones .. [[ JOIN ledger_entries e ON e.txn_id = t.id JOIN wallets w ON w.id = e.wallet_id
    GROUP BY t.id, t.idem_key, t.account_id, w.currency HAVING SUM(e.amount) <> 0]], after, count), last
end

--- Ledger wallets behind `after` whose balance is not the one after their last entry, of the next `count`; and
-- the last that was looked at, 0 at the end.
function reconciliation.drifted(after, count, tx)
  local rows = (tx or db).rows([[
    SELECT b.wallet_id, w.owner_type, w.owner_id, w.kind, w.currency, b.balance, b.version,
      COALESCE(e.balance_after, 0) AS booked,
      EXISTS (SELECT 1 FROM ledger_entries n WHERE n.wallet_id = b.wallet_id AND n.seq = b.version + 1) AS more
    FROM wallet_balances b JOIN wallets w ON w.id = b.wallet_id
    LEFT JOIN ledger_entries e ON e.wallet_id = b.wallet_id AND e.seq = b.version
    WHERE b.wallet_id > ? ORDER BY b.wallet_id LIMIT ?]], after, count)
  local found = {}
  for _, row in ipairs(rows) do
    if row.balance ~= row.booked or row.more == 1 then found[#found + 1] = row end
  end
  return found, #rows == count and rows[#rows].wallet_id or 0
end

local payment_columns = [[
  SELECT o.public_id, o.account_id, o.state, o.price_minor, o.currency, o.payment_ref, o.paid_at,
    (SELECT CAST(COALESCE(SUM(r.amount_minor), 0) AS SIGNED) FROM refunds r
     WHERE r.order_id = o.id AND r.state = 'done') AS refunded,
    (SELECT CAST(COALESCE(SUM(r.amount_minor), 0) AS SIGNED) FROM refunds r
     WHERE r.order_id = o.id AND r.state IN ('requested', 'taken', 'sent')) AS refunding,
    (SELECT COUNT(*) FROM disputes d WHERE d.order_id = o.id) AS disputes
  FROM orders o ]]

--- The order that a provider's payment belongs to, by our own name of it or by the provider's, with what was
-- refunded of it and what is under way; nil if there is none.
function reconciliation.order_of_payment(provider, public_id, payment)
  return db.one(payment_columns .. [[
    WHERE o.provider = ? AND (o.public_id = ? OR o.payment_ref = ?)
    ORDER BY o.public_id <=> ? DESC LIMIT 1]], provider, public_id, payment, public_id)
end

--- Orders of a provider that were paid between two moments (seconds).
function reconciliation.paid_orders(provider, from, to)
  return db.rows([[
    SELECT public_id, account_id, state, payment_ref FROM orders
    WHERE provider = ? AND paid_at >= FROM_UNIXTIME(?) AND paid_at < FROM_UNIXTIME(?) ORDER BY id]], provider, from, to)
end

--- What a provider without books of its own has reported: the payments between two moments (seconds).
function reconciliation.reported(provider, from, to)
  return db.rows([[
    SELECT o.public_id AS 'order', o.payment_ref AS payment, o.currency,
      CAST(MAX(IF(e.type = 'paid', JSON_VALUE(e.detail, '$.amount'), 0)) AS SIGNED) AS amount,
      CAST(COALESCE(SUM(IF(e.type = 'refunded', JSON_VALUE(e.detail, '$.amount'), 0)), 0) AS SIGNED) AS refunded
    FROM payment_events e JOIN orders o ON o.id = e.order_id
    WHERE e.provider = ? AND e.received_at >= FROM_UNIXTIME(?) AND e.received_at < FROM_UNIXTIME(?)
    GROUP BY o.public_id, o.payment_ref, o.currency HAVING SUM(e.type = 'paid') > 0]], provider, from, to)
end

--- The keys of an account's last entries, for the log.
function reconciliation.entries(account, count)
  local keys = {}
  for i, row in ipairs(ledger.history(account, count)) do keys[i] = row.idem_key end
  return keys
end

return reconciliation
