--- Browser sessions. The table holds hashes of tokens; the tokens are in cookies only.
local db = require "runtime.db"
local outbox = require "store.outbox"

local sessions = {}

local columns = [[
  SELECT s.id, s.account_id, s.ip, s.user_agent, s.created_at, s.seen_at, s.expires_at,
    TIMESTAMPDIFF(SECOND, s.seen_at, UTC_TIMESTAMP(6)) AS seen_seconds_ago
  FROM sessions s ]]

local in_force = "s.revoked_at IS NULL AND s.expires_at > UTC_TIMESTAMP(6)"

--- The session in force with that hash, or nil.
function sessions.by_token_hash(hash, tx)
  return (tx or db).one(columns .. "WHERE s.token_hash = ? AND " .. in_force, hash)
end

--- create { token_hash, account_id, ip, user_agent, seconds } → the row
function sessions.create(values, tx)
  local target = tx or db
  target.exec([[
    INSERT INTO sessions (token_hash, account_id, ip, user_agent, expires_at)
    VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? SECOND)]], values.token_hash,
    values.account_id, (values.ip or ""):sub(1, 45), values.user_agent or "", values.seconds)
  return sessions.by_token_hash(values.token_hash, tx)
end

function sessions.touch(id, tx)
  (tx or db).exec("UPDATE sessions SET seen_at = UTC_TIMESTAMP(6) WHERE id = ?", id)
end

--- Ends a session; with an account only one of that account's. False if there was none to end. The
-- sockets that it opened are closed, and cannot come back with the tokens that they have.
function sessions.revoke(id, account_id, tx)
  if not tx then
    return db.transaction(function(own) return sessions.revoke(id, account_id, own) end, { retries = 3 })
  end
  local row = tx.one("SELECT account_id FROM sessions WHERE id = ? AND revoked_at IS NULL FOR UPDATE", id)
  if not row or (account_id and row.account_id ~= account_id) then return false end
  tx.exec("UPDATE sessions SET revoked_at = UTC_TIMESTAMP(6) WHERE id = ?", id)
  outbox.add("order", { channel = "ctl:realtime", message = {
    ["do"] = "kick", account = row.account_id, session = tostring(id), reason = "signed out",
  } }, tx)
  return true
end

--- Those in force, the one seen last first.
function sessions.of_account(account_id)
  return db.rows(columns .. "WHERE s.account_id = ? AND " .. in_force .. " ORDER BY s.seen_at DESC, s.id DESC LIMIT 100",
    account_id)
end

--- Deletes what ended more than `days` ago; at most a thousand rows a call.
function sessions.sweep(days)
  return (db.exec([[
    DELETE FROM sessions
    WHERE LEAST(expires_at, COALESCE(revoked_at, expires_at)) < UTC_TIMESTAMP(6) - INTERVAL ? DAY
    LIMIT 1000]], days))
end

return sessions
