--- Stream keys: what a broadcaster's program shows instead of a password. A key is seen once, by the
-- one who asked for it; here is its hash.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local outbox = require "store.outbox"

local stream_keys = {}

local KEY_BYTES = 24
local HINT = 4 -- last characters, by which an owner tells keys apart

local function rotate(model_id, tx)
  -- The row of the model is the lock: of two rotations at once the later key holds.
  tx.one("SELECT id FROM model_profiles WHERE id = ? FOR UPDATE", model_id)
  tx.exec("UPDATE stream_keys SET revoked_at = UTC_TIMESTAMP(6) WHERE model_id = ? AND revoked_at IS NULL",
    model_id)
  local key = crypto.random_token(KEY_BYTES)
  tx.exec("INSERT INTO stream_keys (model_id, key_hash, hint) VALUES (?, ?, ?)", model_id,
    crypto.hex(crypto.sha256(key)), key:sub(-HINT))
  outbox.add("projection", { model = model_id }, tx)
  return key
end

--- Makes a new key and revokes the old one. Returns the key: the only time that it can be seen.
function stream_keys.rotate(model_id, tx)
  if tx then return rotate(model_id, tx) end
  return db.transaction(function(own) return rotate(model_id, own) end, { retries = 3 })
end

--- The key in force: { id, hint, created_at } or nil.
function stream_keys.of_model(model_id, tx)
  return (tx or db).one([[
    SELECT id, hint, created_at FROM stream_keys WHERE model_id = ? AND revoked_at IS NULL]], model_id)
end

return stream_keys
