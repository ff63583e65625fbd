--- Ledger transactions that are born in MariaDB: payouts and what leads to them. What viewers' wallets
-- do comes from the outbox (store/ledger.lua).
local db = require "runtime.db"
local json = require "runtime.json"

local post = {}

local function wallet_id(leg, currency, tx)
  local sql = "SELECT id FROM wallets WHERE owner_type = ? AND owner_id = ? AND kind = ? AND currency = ?"
  local row = tx.one(sql, leg.owner_type, leg.owner_id, leg.kind, currency)
  if row then return row.id end
  tx.exec("INSERT IGNORE INTO wallets (owner_type, owner_id, kind, currency) VALUES (?, ?, ?, ?)",
    leg.owner_type, leg.owner_id, leg.kind, currency)
  row = tx.one(sql .. " LOCK IN SHARE MODE", leg.owner_type, leg.owner_id, leg.kind, currency)
  return row.id
end

--- Posts { key, type, ref_type, ref_id, actor, reason =, detail =, at =, reverses =, legs } in a transaction. A leg
-- is { owner_type, owner_id, kind, amount, currency = "CRD" }; the legs of each currency sum to zero, and no
-- wallet of a model goes below zero. Returns the id, and true if the key was booked already.
function post.book(values, tx)
  local known = tx.one("SELECT id, type, ref_id FROM ledger_txns WHERE idem_key = ?", values.key)
  if known then
    assert(known.type == values.type and known.ref_id == values.ref_id, "the key was booked as something else")
    return known.id, true
  end
  local sums, legs = {}, {}
  for i, leg in ipairs(values.legs) do
    assert(math.type(leg.amount) == "integer" and leg.amount ~= 0, "a leg has a whole amount")
    local currency = leg.currency or "CRD"
    sums[currency] = (sums[currency] or 0) + leg.amount
    legs[i] = { id = wallet_id(leg, currency, tx), amount = leg.amount, own = leg.owner_type == "model" }
  end
  for currency, sum in pairs(sums) do
    if sum ~= 0 then error(("the legs in %s do not sum to zero"):format(currency), 2) end
  end
  -- Always in this order, as everywhere: no two wait for each other.
  table.sort(legs, function(a, b) return a.id < b.id end)
  local _, txn = tx.exec([[
    INSERT INTO ledger_txns (idem_key, type, ref_type, ref_id, actor, reason, detail, occurred_at, reverses_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, COALESCE(?, UTC_TIMESTAMP(6)), ?)]], values.key, values.type, values.ref_type,
    values.ref_id, values.actor or "system", values.reason and values.reason:sub(1, 200),
    json.encode(values.detail or {}), values.at, values.reverses)
  for _, leg in ipairs(legs) do
    tx.exec("INSERT IGNORE INTO wallet_balances (wallet_id) VALUES (?)", leg.id)
    local row = tx.one("SELECT balance, version FROM wallet_balances WHERE wallet_id = ? FOR UPDATE", leg.id)
    local balance = row.balance + leg.amount
    if leg.own and balance < 0 and leg.amount < 0 then error("the wallet does not hold that much", 2) end
    tx.exec([[
      INSERT INTO ledger_entries (txn_id, wallet_id, seq, amount, balance_after) VALUES (?, ?, ?, ?, ?)]],
      txn, leg.id, row.version + 1, leg.amount, balance)
    tx.exec("UPDATE wallet_balances SET balance = ?, version = ? WHERE wallet_id = ?", balance,
      row.version + 1, leg.id)
  end
  return txn, false
end

--- The id of the transaction with that key, or nil.
function post.find(key, tx)
  local row = (tx or db).one("SELECT id FROM ledger_txns WHERE idem_key = ?", key)
  return row and row.id
end

--- { balance, version } of a model's wallet; zeros if there is none. `lock` keeps it so until the end.
function post.model_balance(model_id, kind, tx, lock)
  return (tx or db).one([[
    SELECT b.balance, b.version FROM wallets w JOIN wallet_balances b ON b.wallet_id = w.id
    WHERE w.owner_type = 'model' AND w.owner_id = ? AND w.kind = ? AND w.currency = 'CRD']]
    .. (lock and " FOR UPDATE" or ""), model_id, kind) or { balance = 0, version = 0 }
end

return post
