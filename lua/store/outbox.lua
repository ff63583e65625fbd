--- What must happen outside MariaDB because of a change: projections into Redis, orders to services,
-- mails. A row is written in the transaction of the change; jobs.outbox carries it out.
local db = require "runtime.db"
local json = require "runtime.json"
local log = require "runtime.log"
local redis = require "runtime.redis"

local outbox = {}

-- A hint only: jobs looks by itself each second, also when Redis is away.
local function nudge()
  local ok, reason = pcall(redis.publish, "ctl:jobs", '{"do":"outbox"}')
  if not ok then log.debug("outbox.nudge", { error = tostring(reason) }) end
end

local function nudge_after(tx)
  if not tx or not tx.after_commit then return nudge() end
  if tx.outbox_nudged then return end
  tx.outbox_nudged = true
  tx.after_commit(nudge)
end

--- add(kind, payload [, tx]) → id. Kinds: "projection" { account = id } or { model = id }, "order"
-- { channel =, message = }, "show" { show = id } or { model = id }, "mail" { to, from, subject, text, html }.
function outbox.add(kind, payload, tx)
  local _, id = (tx or db).exec("INSERT INTO outbox (kind, payload) VALUES (?, ?)", kind,
    json.encode(payload))
  nudge_after(tx)
  return id
end

--- Takes up to `count` rows that are due, for `seconds`; nobody else gets them meanwhile.
function outbox.take(worker, count, seconds)
  return db.transaction(function(tx)
    local rows = tx.rows([[
      SELECT id, kind, payload, attempts FROM outbox
      WHERE state = 'waiting' AND next_at <= UTC_TIMESTAMP(6)
        AND (leased_until IS NULL OR leased_until < UTC_TIMESTAMP(6))
      ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED]], count)
    for _, row in ipairs(rows) do
      tx.exec([[
        UPDATE outbox SET leased_by = ?, leased_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND,
          attempts = attempts + 1 WHERE id = ?]], worker, seconds, row.id)
      row.payload = json.decode(row.payload)
      row.attempts = row.attempts + 1
    end
    return rows
  end, { retries = 3 })
end

--- The row's work is done. False if the lease was lost meanwhile and somebody else has it.
function outbox.done(id, worker)
  local affected = db.exec([[
    UPDATE outbox SET state = 'done', done_at = UTC_TIMESTAMP(6), leased_until = NULL, error = NULL
    WHERE id = ? AND leased_by = ? AND state = 'waiting']], id, worker)
  return affected == 1
end

--- It failed: again after `seconds`, or never when they are nil.
function outbox.failed(id, worker, reason, seconds)
  reason = reason:sub(1, 400):gsub("[^\32-\126]", "?")
  if seconds then
    db.exec([[
      UPDATE outbox SET next_at = UTC_TIMESTAMP(6) + INTERVAL ? SECOND, leased_until = NULL, error = ?
      WHERE id = ? AND leased_by = ? AND state = 'waiting']], seconds, reason, id, worker)
  else
    db.exec([[
      UPDATE outbox SET state = 'dead', done_at = UTC_TIMESTAMP(6), leased_until = NULL, error = ?
      WHERE id = ? AND leased_by = ? AND state = 'waiting']], reason, id, worker)
  end
end

--- Forgets what was done more than `days` ago; at most a thousand rows a call.
function outbox.sweep(days)
  return (db.exec([[
    DELETE FROM outbox WHERE state = 'done' AND done_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY
    LIMIT 1000]], days))
end

--- { waiting =, dead =, oldest_seconds = } for metrics and the health page.
function outbox.figures()
  return db.one([[
    SELECT CAST(COALESCE(SUM(state = 'waiting'), 0) AS INTEGER) AS waiting,
      CAST(COALESCE(SUM(state = 'dead'), 0) AS INTEGER) AS dead,
      COALESCE(TIMESTAMPDIFF(SECOND, MIN(IF(state = 'waiting', created_at, NULL)), UTC_TIMESTAMP(6)), 0)
        AS oldest_seconds
    FROM outbox WHERE state IN ('waiting', 'dead')]])
end

return outbox
