--- The audit log: who did what to whom, append-only, each row chained to the one before by its hash.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local json = require "runtime.json"

local audit = {}

-- Every field ends with a byte that no field holds, so no two rows have the same text.
local function hash_of(row)
  return crypto.hex(crypto.sha256(table.concat({
    row.prev_hash, tostring(row.seq), row.at, tostring(row.actor_id or ""), row.via, row.action,
    row.target, row.detail, row.ip,
  }, "\0")))
end

local function append(entry, tx)
  -- Writers queue here, and are let on when the one before has committed or given up.
  local head = tx.one("SELECT seq, hash FROM audit_head WHERE id = 1 FOR UPDATE")
  local row = {
    seq = head.seq + 1, at = tx.one("SELECT UTC_TIMESTAMP(6) AS now").now, actor_id = entry.actor,
    via = entry.via or (entry.actor and "web" or "command"), action = entry.action,
    target = entry.target, detail = json.encode(entry.detail or {}), ip = entry.ip or "",
    prev_hash = head.hash,
  }
  row.hash = hash_of(row)
  tx.exec([[
    INSERT INTO audit_log (seq, at, actor_id, via, action, target, detail, ip, prev_hash, hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)]], row.seq, row.at, row.actor_id, row.via, row.action,
    row.target, row.detail, row.ip, row.prev_hash, row.hash)
  tx.exec("UPDATE audit_head SET seq = ?, hash = ? WHERE id = 1", row.seq, row.hash)
  return row.seq
end

--- write({ actor = account id or nil, action = "model.approved", target = "model:7", detail = {},
-- ip =, via = } [, tx]) → seq
function audit.write(entry, tx)
  assert(entry.action and entry.target, "an audit row has an action and a target")
  if tx then return append(entry, tx) end
  return db.transaction(function(own) return append(entry, own) end, { retries = 3 })
end

local columns = [[
  SELECT l.seq, l.at, l.actor_id, a.name AS actor_name, l.via, l.action, l.target, l.detail, l.ip
  FROM audit_log l LEFT JOIN accounts a ON a.id = l.actor_id ]]

local function with_detail(rows)
  for _, row in ipairs(rows) do row.detail = json.decode(row.detail) end
  return rows
end

--- The newest rows.
function audit.latest(count)
  return with_detail(db.rows(columns .. "ORDER BY l.seq DESC LIMIT ?", count))
end

function audit.of_target(target, count)
  return with_detail(db.rows(columns .. "WHERE l.target = ? ORDER BY l.seq DESC LIMIT ?", target, count))
end

--- Walks the chain. True and the number of rows, or false and the first seq that does not fit.
function audit.verify()
  local previous, seq = ("0"):rep(64), 0
  while true do
    local rows = db.rows([[
      SELECT seq, at, actor_id, via, action, target, detail, ip, prev_hash, hash FROM audit_log
      WHERE seq > ? ORDER BY seq LIMIT 1000]], seq)
    if #rows == 0 then break end
    for _, row in ipairs(rows) do
      if row.seq ~= seq + 1 or row.prev_hash ~= previous or row.hash ~= hash_of(row) then
        return false, seq + 1
      end
      seq, previous = row.seq, row.hash
    end
  end
  local head = db.one("SELECT seq, hash FROM audit_head WHERE id = 1")
  if head.seq ~= seq or head.hash ~= previous then return false, seq + 1 end
  return true, seq
end

return audit
