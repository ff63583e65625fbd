--- Payout methods, batches, payouts, and the figures that they are made of. What may follow what is
-- site/payouts/flow.lua's.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local json = require "runtime.json"
local ledger_post = require "store.ledger_post"

local payouts = {}

local DISPUTE_DAYS = 120 -- how far back sales to somebody with an open dispute are kept

--- The numbers in force: { currency, minor_per_credit, minimum, reserve_bp, reserve_days,
-- method_hold_hours, hold_days }.
function payouts.terms(tx)
  local terms = {}
  for _, row in ipairs((tx or db).rows([[
    SELECT s.name, s.value FROM settings s
    WHERE (s.name LIKE 'payouts.%' OR s.name = 'billing.hold_days')
      AND s.version = (SELECT MAX(version) FROM settings n WHERE n.name = s.name)]])) do
    terms[row.name:match("%.(.+)$")] = json.decode(row.value)
  end
  return terms
end

-- ---- figures --------------------------------------------------------------------------------------

local sales_sql = [[
  SELECT
    CAST(COALESCE(SUM(IF(t.occurred_at >= UTC_TIMESTAMP(6) - INTERVAL ? DAY, e.amount, 0)), 0) AS SIGNED) AS recent,
    CAST(COALESCE(SUM(IF(t.occurred_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY
      AND t.occurred_at >= UTC_TIMESTAMP(6) - INTERVAL ? DAY AND d.account_id IS NULL, e.amount, 0)), 0)
      AS SIGNED) AS aging,
    CAST(COALESCE(SUM(IF(t.occurred_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY
      AND d.account_id IS NOT NULL, e.amount, 0)), 0) AS SIGNED) AS disputed
  FROM wallets w
  JOIN ledger_entries e ON e.wallet_id = w.id AND e.amount > 0
  JOIN ledger_txns t ON t.id = e.txn_id
  LEFT JOIN (SELECT DISTINCT o.account_id FROM disputes x JOIN orders o ON o.id = x.order_id
             WHERE x.state = 'open') d ON d.account_id = t.account_id
  WHERE w.owner_type = 'model' AND w.owner_id = ? AND w.kind = 'model_pending' AND w.currency = 'CRD'
    AND t.occurred_at >= UTC_TIMESTAMP(6) - INTERVAL ? DAY]]

--- What a model has, in micro-credits: pending in all, of that held (younger than the hold period),
-- disputed and reserve; releasable: pending that may become payable; payable; in_payout.
function payouts.figures(model_id, terms, tx)
  terms = terms or payouts.terms(tx)
  local most = math.max(DISPUTE_DAYS, terms.hold_days, terms.reserve_days)
  local sales = (tx or db).one(sales_sql, terms.hold_days, terms.hold_days, terms.reserve_days,
    terms.hold_days, model_id, most)
  local pending = ledger_post.model_balance(model_id, "model_pending", tx)
  local reserve = sales.aging * terms.reserve_bp // 10000
  return {
    pending = pending.balance, version = pending.version, held = sales.recent, disputed = sales.disputed,
    reserve = reserve,
    -- Never more than the balance: when held parts were refunded since, less is left than their sum.
    releasable = math.max(pending.balance - sales.recent - sales.disputed - reserve, 0),
    payable = ledger_post.model_balance(model_id, "model_payable", tx).balance,
    in_payout = ledger_post.model_balance(model_id, "hold", tx).balance,
  }
end

--- Models that have earned anything, after `id`: { id, pending }.
function payouts.earners(after, count)
  return db.rows([[
    SELECT w.owner_id AS id, b.balance AS pending
    FROM wallets w JOIN wallet_balances b ON b.wallet_id = w.id
    WHERE w.owner_type = 'model' AND w.kind = 'model_pending' AND w.currency = 'CRD' AND w.owner_id > ?
    ORDER BY w.owner_id LIMIT ?]], after, count)
end

--- What moved in a model's wallet in a period, by type: { type, amount, count }.
function payouts.movements(model_id, kind, from, to, tx)
  return (tx or db).rows([[
    SELECT t.type, CAST(SUM(e.amount) AS SIGNED) AS amount, COUNT(*) AS count
    FROM wallets w JOIN ledger_entries e ON e.wallet_id = w.id JOIN ledger_txns t ON t.id = e.txn_id
    WHERE w.owner_type = 'model' AND w.owner_id = ? AND w.kind = ? AND w.currency = 'CRD'
      AND t.occurred_at >= ? AND t.occurred_at < ?
    GROUP BY t.type ORDER BY t.type]], model_id, kind, from, to)
end

--- What a model's wallet held before a moment.
function payouts.balance_at(model_id, kind, at, tx)
  return (tx or db).one([[
    SELECT CAST(COALESCE(SUM(e.amount), 0) AS SIGNED) AS balance
    FROM wallets w JOIN ledger_entries e ON e.wallet_id = w.id JOIN ledger_txns t ON t.id = e.txn_id
    WHERE w.owner_type = 'model' AND w.owner_id = ? AND w.kind = ? AND w.currency = 'CRD' AND t.occurred_at < ?]],
    model_id, kind, at).balance
end

-- ---- holds ----------------------------------------------------------------------------------------

--- Keeps a model's earnings out of batches, or lets them in again; the reason stays.
function payouts.set_hold(model_id, held, reason, actor, tx)
  (tx or db).exec("INSERT INTO payout_holds (model_id, held, reason, actor) VALUES (?, ?, ?, ?)", model_id,
    held and 1 or 0, reason, actor)
end

--- Models whose earnings are kept back: { model_id, slug, stage_name, reason, created_at, actor_name, payable }.
function payouts.holds()
  return db.rows [[
    SELECT h.model_id, m.slug, m.stage_name, h.reason, h.created_at, a.name AS actor_name,
      COALESCE(b.balance, 0) AS payable
    FROM payout_holds h JOIN model_profiles m ON m.id = h.model_id JOIN accounts a ON a.id = h.actor
    LEFT JOIN wallets w ON w.owner_type = 'model' AND w.owner_id = m.id AND w.kind = 'model_payable'
      AND w.currency = 'CRD'
    LEFT JOIN wallet_balances b ON b.wallet_id = w.id
    WHERE h.held AND h.id = (SELECT MAX(n.id) FROM payout_holds n WHERE n.model_id = h.model_id) ORDER BY h.id]]
end

-- ---- methods --------------------------------------------------------------------------------------

--- details: { holder, iban, bic }. Sealed here; only what the page of the model may show stays readable.
function payouts.set_method(model_id, details, actor, tx)
  local _, id = (tx or db).exec(
    "INSERT INTO payout_methods (model_id, sealed, hint, changed_by) VALUES (?, ?, ?, ?)", model_id,
    crypto.seal(json.encode(details)), details.iban:sub(1, 2) .. " **** " .. details.iban:sub(-4), actor)
  return id
end

--- The newest method: { id, hint, changed_at, rests, rests_until }; or nil. `rests`: it was changed too lately.
function payouts.method(model_id, terms)
  local row = db.one([[
    SELECT id, hint, changed_at, changed_at + INTERVAL ? HOUR AS rests_until,
      changed_at > UTC_TIMESTAMP(6) - INTERVAL ? HOUR AS rests
    FROM payout_methods WHERE model_id = ? ORDER BY id DESC LIMIT 1]], terms.method_hold_hours,
    terms.method_hold_hours, model_id)
  if row then row.rests = row.rests == 1 end
  return row
end

-- ---- batches --------------------------------------------------------------------------------------

--- Models that may be paid now: approved, not held back, with a method that has rested, and enough of it payable.
function payouts.eligible(terms, tx)
  return (tx or db).rows([[
    SELECT m.id AS model_id, m.account_id, m.stage_name, b.balance AS payable, p.id AS method_id
    FROM model_profiles m
    JOIN wallets w ON w.owner_type = 'model' AND w.owner_id = m.id AND w.kind = 'model_payable'
      AND w.currency = 'CRD'
    JOIN wallet_balances b ON b.wallet_id = w.id
    JOIN payout_methods p ON p.id = (SELECT MAX(n.id) FROM payout_methods n WHERE n.model_id = m.id)
    WHERE m.state = 'approved' AND b.balance >= ?
      AND p.changed_at <= UTC_TIMESTAMP(6) - INTERVAL ? HOUR
      AND COALESCE((SELECT h.held FROM payout_holds h WHERE h.model_id = m.id ORDER BY h.id DESC LIMIT 1), 0) = 0
    ORDER BY m.id LIMIT 2000]] .. (tx and " FOR UPDATE" or ""), terms.minimum, terms.method_hold_hours)
end

function payouts.add_batch(values, tx)
  local _, id = tx.exec(
    "INSERT INTO payout_batches (currency, minor_per_credit, created_by) VALUES (?, ?, ?)",
    values.currency, values.minor_per_credit, values.created_by)
  return id
end

function payouts.add(values, tx)
  local _, id = tx.exec([[
    INSERT INTO payouts (batch_id, model_id, method_id, amount, money_minor, currency, reference)
    VALUES (?, ?, ?, ?, ?, ?, ?)]], values.batch_id, values.model_id, values.method_id, values.amount,
    values.money_minor, values.currency, values.reference)
  return id
end

local batch_columns = [[
  SELECT b.id, b.state, b.currency, b.minor_per_credit, b.created_by, c.name AS created_by_name, b.created_at,
    b.approved_by, a.name AS approved_by_name, b.approved_at, b.sent_at, b.file_sha256
  FROM payout_batches b JOIN accounts c ON c.id = b.created_by LEFT JOIN accounts a ON a.id = b.approved_by ]]

function payouts.batch(id, tx, lock)
  if lock then tx.one("SELECT id FROM payout_batches WHERE id = ? FOR UPDATE", id) end
  return (tx or db).one(batch_columns .. "WHERE b.id = ?", id)
end

--- The newest first, with the number and the sum of what is in them.
function payouts.batches(count)
  local rows = db.rows(batch_columns .. "ORDER BY b.id DESC LIMIT ?", count)
  for _, row in ipairs(rows) do
    local sums = db.one([[
      SELECT COUNT(*) AS n, CAST(COALESCE(SUM(money_minor), 0) AS SIGNED) AS minor FROM payouts
      WHERE batch_id = ? AND state NOT IN ('cancelled', 'on_hold')]], row.id)
    row.count, row.minor = sums.n, sums.minor
  end
  return rows
end

--- True, or false if the batch was not in `from` any more.
function payouts.move_batch(id, from, to, values, tx)
  return tx.exec([[
    UPDATE payout_batches SET state = ?, approved_by = COALESCE(?, approved_by),
      approved_at = IF(? = 'approved', UTC_TIMESTAMP(6), approved_at),
      sent_at = COALESCE(?, sent_at), file_sha256 = COALESCE(?, file_sha256)
    WHERE id = ? AND state = ?]], to, values and values.approved_by, to, values and values.sent_at,
    values and values.file_sha256, id, from) == 1
end

local columns = [[
  SELECT p.id, p.batch_id, p.model_id, m.account_id, m.stage_name, m.slug, p.method_id, n.hint, p.amount,
    p.money_minor, p.currency, p.state, p.state_reason, p.reference, p.created_at, p.updated_at
  FROM payouts p JOIN model_profiles m ON m.id = p.model_id JOIN payout_methods n ON n.id = p.method_id ]]

function payouts.of_batch(batch_id, tx)
  return (tx or db).rows(columns .. "WHERE p.batch_id = ? ORDER BY p.id", batch_id)
end

function payouts.of_model(model_id, count)
  return db.rows(columns .. "WHERE p.model_id = ? ORDER BY p.id DESC LIMIT ?", model_id, count)
end

function payouts.by_id(id, tx) return (tx or db).one(columns .. "WHERE p.id = ?", id) end

--- True, or false if the payout was not in `from` any more.
function payouts.move(id, from, to, reason, tx)
  return tx.exec([[
    UPDATE payouts SET state = ?, state_reason = COALESCE(?, state_reason), updated_at = UTC_TIMESTAMP(6)
    WHERE id = ? AND state = ?]], to, reason and reason:sub(1, 200), id, from) == 1
end

--- What the bank must know of a payout's method: { holder, iban, bic }.
function payouts.details(method_id, tx)
  local row = (tx or db).one("SELECT sealed FROM payout_methods WHERE id = ?", method_id)
  local text, reason = crypto.unseal(row.sealed)
  if not text then error("a payout method cannot be read: " .. tostring(reason), 0) end
  return json.decode(text)
end

function payouts.now(tx) return tx.one("SELECT UTC_TIMESTAMP() AS now").now end

-- ---- statements -----------------------------------------------------------------------------------

--- Writes a statement down, once for its reference: the text is hashed as it is kept.
function payouts.add_statement(model_id, kind, reference, totals, tx)
  local text = json.encode(totals)
  tx.exec([[
    INSERT IGNORE INTO statements (model_id, kind, reference, totals, sha256) VALUES (?, ?, ?, ?, ?)]],
    model_id, kind, reference, text, crypto.hex(crypto.sha256(text)))
end

function payouts.statements(model_id, count)
  return db.rows([[
    SELECT id, kind, reference, sha256, created_at FROM statements WHERE model_id = ?
    ORDER BY id DESC LIMIT ?]], model_id, count)
end

--- A statement with its text; `intact`: it is what was hashed.
function payouts.statement(id)
  local row = db.one("SELECT id, model_id, kind, reference, totals, sha256, created_at FROM statements WHERE id = ?", id)
  if row then row.intact = crypto.hex(crypto.sha256(row.totals)) == row.sha256 end
  return row
end

return payouts
