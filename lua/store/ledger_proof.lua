-- Proofs over the ledger: the chain of batch hashes, and statements that explain a balance.
local crypto = require "runtime.crypto"
local db = require "runtime.db"

local proof = {}

local PAGE = 200

--- The line of a transaction that its batch's hash is made over.
function proof.line(txn)
  return ("%s %d %d %s %d %d %d %d"):format(txn.op, txn.account, txn.seq, txn.type, txn.paid, txn.bonus, txn.debt,
    txn.at)
end

--- The hash of a batch: over the one before and its lines.
function proof.hash(previous, lines)
  local raw = crypto.sha256(previous .. "\n" .. table.concat(lines, "\n"))
  return (("%02x"):rep(#raw):format(raw:byte(1, -1)))
end

local function lines_between(shard, batch, after)
  local rows = db.rows([[
    SELECT idem_key AS op, account_id AS account, wseq AS seq, type,
           CAST(JSON_VALUE(detail, '$.paid') AS SIGNED) AS paid,
           CAST(JSON_VALUE(detail, '$.bonus') AS SIGNED) AS bonus,
           CAST(JSON_VALUE(detail, '$.debt') AS SIGNED) AS debt,
           CAST(ROUND(UNIX_TIMESTAMP(occurred_at) * 1000) AS SIGNED) AS at
    FROM ledger_txns
    WHERE shard = ? AND epoch = ? AND (stream_ms, stream_n) <= (?, ?)
      AND (epoch > ? OR (stream_ms, stream_n) > (?, ?))
    ORDER BY stream_ms, stream_n]],
    shard, batch.epoch, batch.last_ms, batch.last_n, after.epoch, after.last_ms, after.last_n)
  local lines = {}
  for i, row in ipairs(rows) do lines[i] = proof.line(row) end
  return lines
end

--- Recomputes the chain of one shard. Returns how many batches it has, and a sentence about the first that
-- does not fit, if there is one: something in it or before it was changed or removed.
function proof.verify(shard)
  local previous, count, last = ("0"):rep(64), 0, 0
  local after = { epoch = 0, last_ms = 0, last_n = 0 }
  repeat
    local page = db.rows([[
      SELECT id, epoch, last_ms, last_n, txns, prev_hash, hash FROM ledger_batches
      WHERE shard = ? AND id > ? ORDER BY id LIMIT ?]], shard, last, PAGE)
    for _, batch in ipairs(page) do
      local lines = lines_between(shard, batch, after)
      local problem = batch.prev_hash ~= previous and "does not follow the one before"
        or #lines ~= batch.txns and ("has %d transactions, not %d"):format(#lines, batch.txns)
        or proof.hash(previous, lines) ~= batch.hash and "was changed"
      if problem then return count, ("batch %d of shard %d %s"):format(batch.id, shard, problem) end
      count, last, previous, after = count + 1, batch.id, batch.hash, batch
    end
  until #page < PAGE
  return count
end

local kinds = { account = { "viewer_paid", "viewer_promo", "viewer_debt" },
  model = { "model_pending", "model_payable" } }

--- What explains a balance over a time: { opening, closing, lines }, for kinds of one owner's wallets in the
-- ledger ("account" or "model"). Times are "YYYY-MM-DD" or longer, UTC, `to` not included.
function proof.statement(owner_type, owner_id, from, to)
  local wanted = table.concat(kinds[owner_type], ",")
  local sum = db.one([[
    SELECT CAST(COALESCE(SUM(IF(t.occurred_at < ?, e.amount, 0)), 0) AS SIGNED) AS opening,
           CAST(COALESCE(SUM(IF(t.occurred_at < ?, e.amount, 0)), 0) AS SIGNED) AS closing
    FROM wallets w JOIN ledger_entries e ON e.wallet_id = w.id JOIN ledger_txns t ON t.id = e.txn_id
    WHERE w.owner_type = ? AND w.owner_id = ? AND FIND_IN_SET(w.kind, ?)]], from, to, owner_type, owner_id, wanted)
  sum.lines = db.rows([[
    SELECT t.id, t.occurred_at, t.type, t.ref_type, t.ref_id, t.reason, w.kind, e.amount
    FROM wallets w JOIN ledger_entries e ON e.wallet_id = w.id JOIN ledger_txns t ON t.id = e.txn_id
    WHERE w.owner_type = ? AND w.owner_id = ? AND FIND_IN_SET(w.kind, ?)
      AND t.occurred_at >= ? AND t.occurred_at < ?
    ORDER BY t.occurred_at, t.id, e.id]], owner_type, owner_id, wanted, from, to)
  return sum
end

return proof
