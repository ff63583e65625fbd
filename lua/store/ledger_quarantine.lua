--- Outbox entries that the flusher set aside: they contradict what is booked, or cannot be booked. A person
-- decides about each, and the decision stays.
local billing = require "runtime.billing"
local db = require "runtime.db"
local json = require "runtime.json"
local ledger = require "store.ledger"

local quarantine = {}

--- Those that wait, the oldest first; with `all` those that were decided, too, the newest first.
function quarantine.list(count, all)
  return db.rows([[
    SELECT id, shard, epoch, stream_ms, stream_n, entry, reason, created_at, solved_at, solution
    FROM ledger_quarantine ]] .. (all and "ORDER BY id DESC" or "WHERE solved_at IS NULL ORDER BY id") .. " LIMIT ?",
    count)
end

local function solve(tx, id, actor, solution)
  tx.exec([[
    UPDATE ledger_quarantine SET solved_at = UTC_TIMESTAMP(6), solved_by = ?, solution = LEFT(?, 500) WHERE id = ?]],
    actor, solution, id)
end

local function waiting(tx, id)
  return tx.one("SELECT id, entry, reason FROM ledger_quarantine WHERE id = ? AND solved_at IS NULL FOR UPDATE", id)
end

--- The wallet has the change, and the ledger shall have it, too: under a key of its own, at the change number
-- that it has in the wallet, dated now if its month is closed. nil and why not: "gone", "taken" (that number is
-- booked already: the wallet must be set right instead), or what the ledger says against it.
function quarantine.book(id, actor, reason)
  return db.transaction(function(tx)
    local row = waiting(tx, id)
    if not row then return nil, "gone" end
    local entry = json.decode(row.entry)
    if math.type(entry.account) ~= "integer" or math.type(entry.seq) ~= "integer" then return nil, "it has no place" end
    if tx.one("SELECT id FROM accounts WHERE id = ?", entry.account) == nil then return nil, "there is no such account" end
    if tx.one("SELECT id FROM ledger_txns WHERE account_id = ? AND wseq = ?", entry.account, entry.seq) then
      return nil, "taken"
    end
    -- Of a model that there is not: the house keeps it.
    if (entry.payee or 0) ~= 0 and tx.one("SELECT id FROM model_profiles WHERE id = ?", entry.payee) == nil then
      entry.payee = 0
    end
    if tx.one("SELECT id FROM ledger_txns WHERE idem_key = ?", entry.op) then
      entry.op = ("%s:q%d"):format(entry.op:sub(1, 120), id)
    end
    entry.at = math.max(entry.at, tx.one([[
      SELECT CAST(COALESCE(UNIX_TIMESTAMP(MAX(ends)), 0) * 1000 AS SIGNED) AS ms FROM ledger_periods]]).ms)
    local ok, why = ledger.book_decided(entry, tx)
    if not ok then return nil, why end
    solve(tx, id, actor, "booked: " .. reason)
    return true
  end)
end

--- The ledger is right as it is. nil and "gone", or "missing" while the wallet has the change and the ledger
-- has nothing at its number: then the two would never agree.
function quarantine.dismiss(id, actor, reason)
  return db.transaction(function(tx)
    local row = waiting(tx, id)
    if not row then return nil, "gone" end
    local entry = json.decode(row.entry)
    if math.type(entry.account) == "integer" and entry.account > 0 and math.type(entry.seq) == "integer"
      and tx.one("SELECT id FROM accounts WHERE id = ?", entry.account) ~= nil
      and billing.wallet(entry.account).seq >= entry.seq
      and tx.one("SELECT id FROM ledger_txns WHERE account_id = ? AND wseq = ?", entry.account, entry.seq) == nil then
      return nil, "missing"
    end
    solve(tx, id, actor, "dismissed: " .. reason)
    return true
  end)
end

return quarantine
