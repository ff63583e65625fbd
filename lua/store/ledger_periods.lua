--- Months that are closed, and statements over a time. What is closed stays as it is: the database refuses
-- transactions dated in it, and what must be put right is dated when it is put right.
local billing = require "runtime.billing"
local db = require "runtime.db"
local json = require "runtime.json"

local periods = {}

--- The first moments of a month "YYYY-MM" and of the next one; nil if it is none.
function periods.bounds(month)
  local year, number = tostring(month):match "^(%d%d%d%d)%-(%d%d)$"
  year, number = math.tointeger(tonumber(year)), math.tointeger(tonumber(number))
  if not year or number < 1 or number > 12 then return nil end
  local next_year, next_number = year, number + 1
  if next_number > 12 then next_year, next_number = year + 1, 1 end
  return ("%04d-%02d-01"):format(year, number), ("%04d-%02d-01"):format(next_year, next_number)
end

-- Whether an outbox entry of before `ends` (ms) waits to be booked. The cursors are locked, so nobody
-- books meanwhile.
local function waits(cursors, ends)
  for _, cursor in ipairs(cursors) do
    local entries, epoch = billing.outbox.read(cursor.shard, cursor.stream_ms, cursor.stream_n, 1)
    if epoch > cursor.epoch then entries = billing.outbox.read(cursor.shard, 0, 0, 1) end
    if entries[1] and entries[1].at < ends then return true end
  end
  return false
end

local totals_sql = [[
  SELECT w.owner_type, w.kind, w.currency,
         CAST(SUM(IF(t.occurred_at >= ?, e.amount, 0)) AS SIGNED) AS moved,
         CAST(SUM(e.amount) AS SIGNED) AS closing
  FROM ledger_txns t JOIN ledger_entries e ON e.txn_id = t.id JOIN wallets w ON w.id = e.wallet_id
  WHERE t.occurred_at < ? GROUP BY w.owner_type, w.kind, w.currency ORDER BY w.owner_type, w.kind, w.currency]]

--- As close, inside a transaction.
function periods.close_in(tx, month, actor)
  local from, ends = periods.bounds(month)
  if not from then return nil, "a month is written YYYY-MM" end
  local cursors = tx.rows "SELECT shard, epoch, stream_ms, stream_n FROM ledger_cursors ORDER BY shard FOR UPDATE"
  local known = tx.one([[
    SELECT UTC_TIMESTAMP(6) >= ? AS passed, (SELECT MAX(month) FROM ledger_periods) AS newest,
           (SELECT DATE_FORMAT(MIN(occurred_at), '%Y-%m') FROM ledger_txns) AS oldest,
           CAST(UNIX_TIMESTAMP(?) * 1000 AS SIGNED) AS ends_ms]], ends, ends)
  if known.passed == 0 then return nil, "the month is not over" end
  if known.newest and month <= known.newest then return nil, "it is closed already" end
  local after = known.newest and select(2, periods.bounds(known.newest)):sub(1, 7) or known.oldest
  if after and month > after then return nil, ("%s comes first"):format(after) end
  if waits(cursors, known.ends_ms) then return nil, "not everything of this month is booked yet" end
  local open = tx.one "SELECT COUNT(*) AS count FROM ledger_quarantine WHERE solved_at IS NULL"
  if open.count > 0 then return nil, ("%d entries in quarantine are not decided"):format(open.count) end
  local wrong = tx.one([[
    SELECT t.id FROM ledger_txns t JOIN ledger_entries e ON e.txn_id = t.id JOIN wallets w ON w.id = e.wallet_id
    WHERE t.occurred_at >= ? AND t.occurred_at < ?
    GROUP BY t.id, w.currency HAVING SUM(e.amount) <> 0 LIMIT 1]], from, ends)
  if wrong then return nil, ("transaction %d does not sum to zero"):format(wrong.id) end
  local totals = tx.rows(totals_sql, from, ends)
  local count = tx.one("SELECT COUNT(*) AS count FROM ledger_txns WHERE occurred_at >= ? AND occurred_at < ?",
    from, ends).count
  tx.exec("INSERT INTO ledger_periods (month, ends, txns, totals, actor) VALUES (?, ?, ?, ?, ?)", month, ends,
    count, json.encode(#totals > 0 and totals or json.array {}), actor)
  return { month = month, txns = count, totals = totals }
end

--- Closes a month for good. Returns what it came to, or nil and what stands against it.
function periods.close(month, actor)
  local row, reason
  db.transaction(function(tx) row, reason = periods.close_in(tx, month, actor) end)
  return row, reason
end

--- The months that are closed, newest first.
function periods.list(count)
  return db.rows("SELECT month, txns, totals, actor, closed_at FROM ledger_periods ORDER BY month DESC LIMIT ?", count)
end

--- Gives a model shares of her own (basis points, nil: those of the settings) from now on.
function periods.set_split(model, paid_bp, promo_bp, actor, reason)
  for _, bp in ipairs { paid_bp or 0, promo_bp or 0 } do
    if math.type(bp) ~= "integer" or bp < 0 or bp > 10000 then error("a share is 0 to 10000 basis points", 2) end
  end
  db.exec([[
    INSERT INTO revenue_splits (model_id, valid_from, paid_bp, promo_bp, reason, actor)
    VALUES (?, UTC_TIMESTAMP(6), ?, ?, LEFT(?, 200), ?)]], model, paid_bp, promo_bp, reason, actor)
end

--- A model's own shares through time, newest first.
function periods.splits_of(model)
  return db.rows([[
    SELECT valid_from, paid_bp, promo_bp, reason, actor FROM revenue_splits WHERE model_id = ?
    ORDER BY valid_from DESC]], model)
end

return periods
