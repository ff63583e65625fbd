--- Accounts. Whoever signs in, watches, broadcasts or works here is a row of `accounts`.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local outbox = require "store.outbox"
local text = require "runtime.text"

local accounts = {}

local columns = [[
  SELECT a.id, a.name, a.email, a.password_hash, a.state, r.name AS role, a.locale, a.tz,
    a.email_verified_at, a.tokens_valid_from, a.version, a.created_at,
    CAST(FLOOR(UNIX_TIMESTAMP(a.tokens_valid_from)) AS INTEGER) AS nbf
  FROM accounts a JOIN roles r ON r.id = a.role_id ]]

-- The permissions of a role change with a migration only; the rows are few.
local function with_permissions(row, tx)
  if not row then return nil end
  local list = {}
  for i, permission in ipairs((tx or db).rows([[
    SELECT p.permission FROM role_permissions p JOIN roles r ON r.id = p.role_id
    WHERE r.name = ?]], row.role)) do
    list[i] = permission.permission
  end
  row.permissions = list
  return row
end

function accounts.by_id(id, tx)
  return with_permissions((tx or db).one(columns .. "WHERE a.id = ?", id), tx)
end

function accounts.by_name(name, tx)
  return with_permissions((tx or db).one(columns .. "WHERE a.name = ?", name), tx)
end

--- What two spellings of one address have in common: case and surrounding spaces. Dots and plus
-- signs are kept apart: what they mean is the mail server's business.
function accounts.email_key(email)
  return text.fold(email:match("^%s*(.-)%s*$"))
end

function accounts.by_email(email, tx)
  return with_permissions(
    (tx or db).one(columns .. "WHERE a.email_key = ?", accounts.email_key(email)), tx)
end

local function project(id, tx) outbox.add("projection", { account = id }, tx) end

--- create({ name, email =, password_hash =, state = "pending", role = "viewer", locale =,
-- verified = false } [, tx]) → the account. Raises an error with `duplicate` for a taken name or
-- address.
function accounts.create(values, tx)
  if not tx then return db.transaction(function(own) return accounts.create(values, own) end) end
  local role = values.role or "viewer"
  local row = tx.one("SELECT id FROM roles WHERE name = ?", role)
  if not row then error(("there is no role '%s'"):format(role), 2) end
  local _, id = tx.exec([[
    INSERT INTO accounts (name, email, email_key, password_hash, state, role_id, locale,
      email_verified_at) VALUES (?, ?, ?, ?, ?, ?, ?, IF(?, UTC_TIMESTAMP(6), NULL))]],
    values.name, values.email, values.email and accounts.email_key(values.email) or nil,
    values.password_hash, values.state or "pending", row.id, values.locale or "en",
    values.verified or false)
  project(id, tx)
  return accounts.by_id(id, tx)
end

-- Whatever was handed out before is void: browsers must sign in again, sockets get a new token.
local void_tokens = "tokens_valid_from = UTC_TIMESTAMP(6), version = version + 1, updated_at = UTC_TIMESTAMP(6)"

local function end_sessions(id, tx)
  tx.exec("UPDATE sessions SET revoked_at = UTC_TIMESTAMP(6) WHERE account_id = ? AND revoked_at IS NULL", id)
end

local function own_transaction(tx, fn)
  if tx then return fn(tx) end
  return db.transaction(fn, { retries = 3 })
end

--- A new password ends all sessions.
function accounts.set_password(id, hash, tx)
  return own_transaction(tx, function(own)
    own.exec("UPDATE accounts SET password_hash = ?, " .. void_tokens .. " WHERE id = ?", hash, id)
    end_sessions(id, own)
    project(id, own)
    -- Sockets that are open now; the new session's, opened a moment later, stay.
    local since = own.one([[
      SELECT CAST(FLOOR(UNIX_TIMESTAMP(tokens_valid_from)) AS INTEGER) AS nbf FROM accounts WHERE id = ?]], id)
    outbox.add("order", { channel = "ctl:realtime", message = {
      ["do"] = "kick", account = id, before = since.nbf, reason = "signed out",
    } }, own)
  end)
end

--- The same password hashed by newer parameters: nobody is signed out.
function accounts.rehash(id, hash, tx)
  (tx or db).exec("UPDATE accounts SET password_hash = ? WHERE id = ?", hash, id)
end

--- The address was shown to be the owner's; a pending account becomes active.
function accounts.verify_email(id, tx)
  return own_transaction(tx, function(own)
    own.exec([[
      UPDATE accounts SET email_verified_at = COALESCE(email_verified_at, UTC_TIMESTAMP(6)),
        state = IF(state = 'pending', 'active', state), version = version + 1,
        updated_at = UTC_TIMESTAMP(6) WHERE id = ?]], id)
    project(id, own)
  end)
end

-- What runs now ends: sockets, what the account watches, and what it broadcasts with all who watch it.
-- Written after the projection, so that whoever is thrown out finds the door shut.
local function throw_out(id, reason, tx)
  for _, channel in ipairs { "ctl:realtime", "ctl:hooks", "ctl:media" } do
    outbox.add("order", { channel = channel,
      message = { ["do"] = "kick", account = id, reason = reason } }, tx)
  end
  local model = tx.one("SELECT slug FROM model_profiles WHERE account_id = ?", id)
  if not model then return end
  for _, channel in ipairs { "ctl:hooks", "ctl:media" } do
    outbox.add("order", { channel = channel,
      message = { ["do"] = "drop", slug = model.slug, reason = reason } }, tx)
  end
end

--- active, disabled or banned. Anything but active ends sessions, and kicks from sockets and streams.
function accounts.set_state(id, state, tx)
  return own_transaction(tx, function(own)
    local affected = own.exec("UPDATE accounts SET state = ?, " .. void_tokens .. " WHERE id = ?",
      state, id)
    if affected == 0 then return false end
    project(id, own)
    if state ~= "active" then
      end_sessions(id, own)
      throw_out(id, state, own)
    end
    return true
  end)
end

function accounts.set_role(id, role, tx)
  return own_transaction(tx, function(own)
    local affected = own.exec("UPDATE accounts SET role_id = (SELECT id FROM roles WHERE name = ?), "
      .. void_tokens .. " WHERE id = ?", role, id)
    project(id, own)
    return affected == 1
  end)
end

-- ---- tokens that are mailed -----------------------------------------------------------------------

local TOKEN_BYTES = 32

local function hash_of(token) return crypto.hex(crypto.sha256(token)) end

--- new_token(account id, kind, seconds [, detail] [, tx]) → the token, which exists nowhere else.
-- Earlier ones of that kind are void.
function accounts.new_token(id, kind, seconds, detail, tx)
  return own_transaction(tx, function(own)
    own.exec([[
      UPDATE email_tokens SET used_at = UTC_TIMESTAMP(6)
      WHERE account_id = ? AND kind = ? AND used_at IS NULL]], id, kind)
    local token = crypto.random_token(TOKEN_BYTES)
    own.exec([[
      INSERT INTO email_tokens (token_hash, account_id, kind, detail, expires_at)
      VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? SECOND)]], hash_of(token), id, kind, detail,
      seconds)
    return token
  end)
end

--- Whether the token could be used now: { account_id, detail } or nil.
function accounts.peek_token(token, kind, tx)
  return (tx or db).one([[
    SELECT account_id, detail FROM email_tokens
    WHERE token_hash = ? AND kind = ? AND used_at IS NULL AND expires_at > UTC_TIMESTAMP(6)]],
    hash_of(token), kind)
end

--- Uses the token up: { account_id, detail }, or nil if it is not (or no longer) good.
function accounts.use_token(token, kind, tx)
  return own_transaction(tx, function(own)
    local affected = own.exec([[
      UPDATE email_tokens SET used_at = UTC_TIMESTAMP(6)
      WHERE token_hash = ? AND kind = ? AND used_at IS NULL AND expires_at > UTC_TIMESTAMP(6)]],
      hash_of(token), kind)
    if affected ~= 1 then return nil end
    return own.one("SELECT account_id, detail FROM email_tokens WHERE token_hash = ?", hash_of(token))
  end)
end

-- ---- projections ----------------------------------------------------------------------------------

--- What the services that have no MariaDB know of an account: p:account:<id> of docs/house.md.
function accounts.projection(id)
  return db.one([[
    SELECT a.id, a.name, r.name AS role, a.state,
      CAST(FLOOR(UNIX_TIMESTAMP(a.tokens_valid_from)) AS INTEGER) AS nbf
    FROM accounts a JOIN roles r ON r.id = a.role_id WHERE a.id = ?]], id)
end

--- Ids after `after`, in order, for walking through all.
function accounts.ids_after(after, count)
  local ids = {}
  for i, row in ipairs(db.rows("SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT ?", after, count)) do
    ids[i] = row.id
  end
  return ids
end

return accounts
