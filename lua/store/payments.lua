--- What providers told us, refunds and disputes. Which event leads where is site/orders.lua's.
local db = require "runtime.db"
local json = require "runtime.json"

local payments = {}

-- ---- events ---------------------------------------------------------------------------------------

--- Keeps an event as it came. Returns its id, or nil if it was here before.
function payments.add_event(values, tx)
  local affected, id = (tx or db).exec([[
    INSERT INTO payment_events (provider, event_id, order_id, raw, type, ref, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON DUPLICATE KEY UPDATE provider = VALUES(provider)]], values.provider, values.event_id,
    values.order_id, values.raw, values.type, values.ref, values.detail)
  return affected == 1 and id or nil
end

function payments.finish_event(id, result, order_id, tx)
  (tx or db).exec([[
    UPDATE payment_events SET processed_at = UTC_TIMESTAMP(6), result = ?, order_id = COALESCE(order_id, ?)
    WHERE id = ?]], result, order_id, id)
end

--- Events of an order that came before their turn, in the order of their coming: { id, event }.
function payments.parked(order, tx)
  local rows = (tx or db).rows([[
    SELECT id, detail FROM payment_events
    WHERE result = 'parked' AND (order_id = ? OR (order_id IS NULL AND provider = ? AND ref = ?))
    ORDER BY id LIMIT 50]], order.id, order.provider, order.payment_ref)
  for _, row in ipairs(rows) do row.event = json.decode(row.detail) end
  return rows
end

function payments.events_of(order_id)
  return db.rows([[
    SELECT event_id, type, result, received_at FROM payment_events WHERE order_id = ?
    ORDER BY id LIMIT 100]], order_id)
end

-- ---- refunds --------------------------------------------------------------------------------------

local refund_columns = [[
  SELECT r.id, r.order_id, o.public_id AS order_public_id, r.idem_key, r.source, r.state, r.state_reason,
    r.amount_minor, r.credits, r.promo_credits, r.promo_taken, r.provider_ref, r.reason, r.created_by,
    a.name AS created_by_name, r.created_at
  FROM refunds r JOIN orders o ON o.id = r.order_id LEFT JOIN accounts a ON a.id = r.created_by ]]

function payments.refund(id, tx) return (tx or db).one(refund_columns .. "WHERE r.id = ?", id) end

function payments.refund_by_key(order_id, key, tx)
  return (tx or db).one(refund_columns .. "WHERE r.order_id = ? AND r.idem_key = ?", order_id, key)
end

function payments.refunds_of(order_id, tx)
  return (tx or db).rows(refund_columns .. "WHERE r.order_id = ? ORDER BY r.id", order_id)
end

--- What refunds that were not refused have given back, or will: { amount_minor, credits, promo_credits }.
function payments.refunded(order_id, tx)
  return (tx or db).one([[
    SELECT CAST(COALESCE(SUM(amount_minor), 0) AS SIGNED) AS amount_minor,
      CAST(COALESCE(SUM(credits), 0) AS SIGNED) AS credits,
      CAST(COALESCE(SUM(promo_credits), 0) AS SIGNED) AS promo_credits
    FROM refunds WHERE order_id = ? AND state <> 'refused']], order_id)
end

function payments.add_refund(values, tx)
  local _, id = (tx or db).exec([[
    INSERT INTO refunds (order_id, idem_key, source, amount_minor, credits, promo_credits, reason,
      created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)]], values.order_id, values.idem_key, values.source,
    values.amount_minor, values.credits, values.promo_credits, values.reason, values.created_by)
  return id
end

--- True, or false if the refund was not in `from` any more.
function payments.move_refund(id, from, to, values, tx)
  values = values or {}
  return (tx or db).exec([[
    UPDATE refunds SET state = ?, state_reason = COALESCE(?, state_reason),
      provider_ref = COALESCE(?, provider_ref), promo_taken = COALESCE(?, promo_taken),
      updated_at = UTC_TIMESTAMP(6)
    WHERE id = ? AND state = ?]], to, values.reason and values.reason:sub(1, 200), values.provider_ref,
    values.promo_taken, id, from) == 1
end

--- How much of the bonus the refund is about to take; written down before it is taken.
function payments.plan_promotion(id, amount)
  db.exec("UPDATE refunds SET promo_taken = ? WHERE id = ? AND state = 'requested'", amount, id)
end

--- Refunds that are under way and have rested for `seconds`.
function payments.open_refunds(seconds, count)
  return db.rows(refund_columns .. [[
    WHERE r.state IN ('requested', 'taken', 'sent') AND r.updated_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND
    ORDER BY r.updated_at LIMIT ?]], seconds, count)
end

function payments.touch_refund(id)
  db.exec("UPDATE refunds SET updated_at = UTC_TIMESTAMP(6) WHERE id = ?", id)
end

-- ---- disputes -------------------------------------------------------------------------------------

local dispute_columns = [[
  SELECT d.id, d.order_id, o.public_id AS order_public_id, o.account_id, a.name AS account_name,
    d.provider, d.provider_ref, d.state, d.amount_minor, o.currency, d.reason, d.due_by, d.evidence,
    d.created_at, d.closed_at
  FROM disputes d JOIN orders o ON o.id = d.order_id JOIN accounts a ON a.id = o.account_id ]]

function payments.dispute(id, tx) return (tx or db).one(dispute_columns .. "WHERE d.id = ?", id) end

function payments.dispute_by_ref(provider, ref, tx)
  return (tx or db).one(dispute_columns .. "WHERE d.provider = ? AND d.provider_ref = ?", provider, ref)
end

function payments.latest_dispute(order_id, tx)
  return (tx or db).one(dispute_columns .. "WHERE d.order_id = ? ORDER BY d.id DESC LIMIT 1", order_id)
end

function payments.open_dispute(values, tx)
  local _, id = (tx or db).exec([[
    INSERT INTO disputes (order_id, provider, provider_ref, amount_minor, reason, due_by)
    VALUES (?, ?, ?, ?, ?, FROM_UNIXTIME(?))]], values.order_id, values.provider, values.provider_ref,
    values.amount_minor, (values.reason or ""):sub(1, 200), values.due_by)
  return id
end

function payments.close_dispute(id, state, tx)
  return (tx or db).exec([[
    UPDATE disputes SET state = ?, closed_at = UTC_TIMESTAMP(6) WHERE id = ? AND state = 'open']],
    state, id) == 1
end

--- Whether the account has an open dispute or lost one: such a wallet is not thawed by another's end.
function payments.has_disputes(account_id)
  return db.one([[
    SELECT 1 AS found FROM disputes d JOIN orders o ON o.id = d.order_id
    WHERE o.account_id = ? AND d.state IN ('open', 'lost') LIMIT 1]], account_id) ~= nil
end

function payments.set_evidence(id, text, tx)
  return (tx or db).exec("UPDATE disputes SET evidence = ? WHERE id = ? AND state = 'open'", text, id) == 1
end

--- { state =, limit, offset } → rows and how many there are; what is due first comes first.
function payments.search_disputes(wanted)
  local rows = db.rows(dispute_columns .. [[
    WHERE (? IS NULL OR d.state = ?)
    ORDER BY d.state = 'open' DESC, COALESCE(d.due_by, d.created_at), d.id LIMIT ? OFFSET ?]],
    wanted.state, wanted.state, wanted.limit, wanted.offset)
  local total = db.one("SELECT COUNT(*) AS n FROM disputes WHERE (? IS NULL OR state = ?)",
    wanted.state, wanted.state).n
  return rows, total
end

return payments
