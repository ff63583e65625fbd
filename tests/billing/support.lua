--- People, keys and the ledger as the specs of billing need them.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local flusher = require "jobs.ledger"

local support = { CREDIT = 1000000 }

local function fresh(prefix) return prefix .. crypto.random_token(9):lower():gsub("[^a-z0-9]", "x") end

--- A new account without a wallet: its number and its name.
function support.account()
  local name = fresh "t"
  return (select(2, db.exec("INSERT INTO accounts (name, state, role_id) SELECT ?, 'active', id FROM roles ORDER BY id LIMIT 1", name))), name
end

--- The number of a new profile of that account.
function support.model(account)
  local slug = fresh "m"
  return (select(2, db.exec("INSERT INTO model_profiles (account_id, slug, stage_name) VALUES (?, ?, ?)",
    account, slug, slug)))
end

--- Books everything that waits in the outbox.
function support.flush()
  while flusher.flush() > 0 do end
end

--- A key of an operation that no other test uses.
function support.op(name) return "spec:" .. crypto.random_token(9) .. ":" .. name end

return support
