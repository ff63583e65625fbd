--- The ledger as staff and account owners read it: balances by kind, months, transactions with their legs,
-- statements. Read only.
local db = require "runtime.db"

local finances = {}

--- What each kind of wallet holds now: { owner_type, kind, currency, balance, wallets }.
function finances.balances()
  return db.rows [[
    SELECT w.owner_type, w.kind, w.currency, CAST(SUM(b.balance) AS SIGNED) AS balance, COUNT(*) AS wallets
    FROM wallets w JOIN wallet_balances b ON b.wallet_id = w.id
    GROUP BY w.owner_type, w.kind, w.currency ORDER BY w.owner_type, w.kind, w.currency]]
end

--- What a time moved, by type of transaction, in credits: { type, count, viewers, models, site, outside }.
function finances.by_type(from, to)
  return db.rows([[
    SELECT t.type, COUNT(DISTINCT t.id) AS count,
      CAST(SUM(IF(w.owner_type = 'account', e.amount, 0)) AS SIGNED) AS viewers,
      CAST(SUM(IF(w.owner_type = 'model', e.amount, 0)) AS SIGNED) AS models,
      CAST(SUM(IF(w.kind = 'site_revenue', e.amount, 0)) AS SIGNED) AS site,
      CAST(SUM(IF(w.owner_type = 'site' AND w.kind <> 'site_revenue', e.amount, 0)) AS SIGNED) AS outside
    FROM ledger_txns t JOIN ledger_entries e ON e.txn_id = t.id JOIN wallets w ON w.id = e.wallet_id
    WHERE t.occurred_at >= ? AND t.occurred_at < ? AND w.currency = 'CRD' GROUP BY t.type ORDER BY t.type]], from, to)
end

--- What was sold in a time, by provider and currency: { provider, currency, count, minor, credits, refunded }.
function finances.sales(from, to)
  return db.rows([[
    SELECT o.provider, o.currency, COUNT(*) AS count, CAST(SUM(o.price_minor) AS SIGNED) AS minor,
      CAST(SUM(o.credits + o.promo_credits) AS SIGNED) AS credits,
      CAST(COALESCE(SUM(r.minor), 0) AS SIGNED) AS refunded
    FROM orders o
    LEFT JOIN (SELECT order_id, SUM(amount_minor) AS minor FROM refunds WHERE state = 'done' GROUP BY order_id) r
      ON r.order_id = o.id
    WHERE o.paid_at >= ? AND o.paid_at < ?
    GROUP BY o.provider, o.currency ORDER BY o.provider, o.currency]], from, to)
end

--- What waits for a person: name → how many.
function finances.waiting()
  return db.one [[
    SELECT (SELECT COUNT(*) FROM ledger_quarantine WHERE solved_at IS NULL) AS quarantine,
      (SELECT COUNT(*) FROM orders WHERE state = 'review') AS review,
      (SELECT COUNT(*) FROM orders WHERE state = 'paid'
       AND updated_at < UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE) AS uncredited,
      (SELECT COUNT(*) FROM disputes WHERE state = 'open') AS disputes,
      (SELECT COUNT(*) FROM refunds WHERE state IN ('requested', 'taken', 'sent')) AS refunds,
      (SELECT COUNT(*) FROM payout_batches WHERE state = 'created') AS batches]]
end

function finances.types()
  local list = {}
  for i, row in ipairs(db.rows "SELECT type FROM ledger_txns GROUP BY type ORDER BY type") do list[i] = row.type end
  return list
end

local txn_columns = [[
  SELECT t.id, t.idem_key, t.type, t.ref_type, t.ref_id, t.actor, t.reason, t.occurred_at, t.created_at,
    t.account_id, a.name AS account_name, c.name AS actor_name, m.slug AS model, t.wseq,
    t.reverses_id, t.shard, t.epoch, t.stream_ms, t.stream_n,
    CAST(JSON_VALUE(t.detail, '$.paid') AS SIGNED) AS paid, CAST(JSON_VALUE(t.detail, '$.bonus') AS SIGNED) AS bonus,
    CAST(JSON_VALUE(t.detail, '$.debt') AS SIGNED) AS debt
  FROM ledger_txns t LEFT JOIN accounts a ON a.id = t.account_id
  LEFT JOIN accounts c ON t.actor LIKE 'account:%' AND c.id = CAST(SUBSTRING(t.actor, 9) AS UNSIGNED)
  LEFT JOIN model_profiles m ON t.ref_type = 'model' AND m.id = CAST(t.ref_id AS UNSIGNED) ]]

--- { account =, model =, text = (a key or what it refers to), type =, from =, to =, limit, offset } → rows, the
-- newest first, and how many there are. Times are as in SQL; `to` is not included.
function finances.search(wanted)
  local where, values = {}, {}
  local function add(condition, ...)
    where[#where + 1] = condition
    for _, value in ipairs { ... } do values[#values + 1] = value end
  end
  if wanted.account then add("t.account_id = ?", wanted.account) end
  if wanted.model then
    add([[EXISTS (SELECT 1 FROM ledger_entries e JOIN wallets w ON w.id = e.wallet_id
      WHERE e.txn_id = t.id AND w.owner_type = 'model' AND w.owner_id = ?)]], wanted.model)
  end
  if wanted.text then add("(t.idem_key = ? OR t.ref_id = ?)", wanted.text, wanted.text) end
  if wanted.type then add("t.type = ?", wanted.type) end
  if wanted.from then add("t.occurred_at >= ?", wanted.from) end
  if wanted.to then add("t.occurred_at < ?", wanted.to) end
  local condition = #where > 0 and "WHERE " .. table.concat(where, " AND ") or ""
  local total = db.one("SELECT COUNT(*) AS n FROM ledger_txns t " .. condition, table.unpack(values)).n
  values[#values + 1], values[#values + 2] = wanted.limit, wanted.offset
  return db.rows(txn_columns .. condition .. " ORDER BY t.id DESC LIMIT ? OFFSET ?", table.unpack(values)), total
end

--- One transaction, with its legs and the id of the one that reversed it; nil if there is none.
function finances.txn(id)
  local txn = db.one(txn_columns .. "WHERE t.id = ?", id)
  if not txn then return nil end
  txn.legs = db.rows([[
    SELECT w.owner_type, w.owner_id, w.kind, w.currency, e.seq, e.amount, e.balance_after,
      COALESCE(a.name, m.slug) AS owner
    FROM ledger_entries e JOIN wallets w ON w.id = e.wallet_id LEFT JOIN accounts a ON a.id = w.account_id
    LEFT JOIN model_profiles m ON m.id = w.model_id WHERE e.txn_id = ? ORDER BY e.id]], id)
  local reversal = db.one("SELECT id FROM ledger_txns WHERE reverses_id = ?", id)
  txn.reversed_by = reversal and reversal.id
  return txn
end

-- A session is one line, whatever number of ticks it was charged by.
local statement_sql = [[
  SELECT MIN(t.occurred_at) AS at, IF(MAX(t.ref_type <=> 'session'), 'meter', MAX(t.type)) AS type,
    MAX(t.ref_type) AS ref_type, MAX(t.ref_id) AS ref_id, MAX(m.stage_name) AS model, MAX(t.reason) AS reason, MAX(t.idem_key) AS idem_key,
    CAST(SUM(IF(w.kind = 'viewer_paid', e.amount, 0)) AS SIGNED) AS paid,
    CAST(SUM(IF(w.kind = 'viewer_promo', e.amount, 0)) AS SIGNED) AS bonus,
    CAST(SUM(IF(w.kind = 'viewer_debt', e.amount, 0)) AS SIGNED) AS debt, CAST(SUM(e.amount) AS SIGNED) AS amount
  FROM wallets w JOIN ledger_entries e ON e.wallet_id = w.id JOIN ledger_txns t ON t.id = e.txn_id
  LEFT JOIN model_profiles m ON m.id = CAST(JSON_VALUE(t.detail, '$.payee') AS UNSIGNED)
  WHERE w.owner_type = 'account' AND w.owner_id = ? AND t.occurred_at >= ? AND t.occurred_at < ?
  GROUP BY IF(t.ref_type <=> 'session', t.ref_id, t.id) ORDER BY MIN(t.id) LIMIT ?]]

--- What an account had before a time and after it, and the lines between, at most `limit`. Sums are of all.
function finances.statement(account, from, to, limit)
  local sums = db.one([[
    SELECT CAST(COALESCE(SUM(IF(t.occurred_at < ?, e.amount, 0)), 0) AS SIGNED) AS opening,
      CAST(COALESCE(SUM(IF(t.occurred_at < ?, e.amount, 0)), 0) AS SIGNED) AS closing
    FROM wallets w JOIN ledger_entries e ON e.wallet_id = w.id JOIN ledger_txns t ON t.id = e.txn_id
    WHERE w.owner_type = 'account' AND w.owner_id = ?]], from, to, account)
  sums.lines = db.rows(statement_sql, account, from, to, limit)
  return sums
end

return finances
