--- Broadcasts, as the hooks service reports them in the stream `events`. Replaying an event changes
-- nothing.
local db = require "runtime.db"

local broadcasts = {}

--- began { event = the broadcast's name, model = id, at = ms, node = } → id; nil for a model that does
-- not exist. Again: nothing but the id.
function broadcasts.began(values, tx)
  local target = tx or db
  target.exec([[
    INSERT INTO broadcasts (event_id, model_id, started_at, node)
    SELECT ?, id, FROM_UNIXTIME(? / 1000), ? FROM model_profiles WHERE id = ?
    ON DUPLICATE KEY UPDATE event_id = broadcasts.event_id]], values.event, values.at, values.node or "",
    values.model)
  local row = target.one("SELECT id FROM broadcasts WHERE event_id = ?", values.event)
  return row and row.id
end

--- ended { event, at = ms, reason =, codec =, peak = } → true if it was still open: the first end counts.
function broadcasts.ended(values, tx)
  return (tx or db).exec([[
    UPDATE broadcasts SET ended_at = GREATEST(FROM_UNIXTIME(? / 1000), started_at), end_reason = ?,
      codec = COALESCE(?, codec), peak = GREATEST(peak, ?)
    WHERE event_id = ? AND ended_at IS NULL]], values.at, values.reason or "ended", values.codec,
    values.peak or 0, values.event) == 1
end

--- Those that were never reported as ended, for the sweep that compares them with what is live.
function broadcasts.open()
  return db.rows([[
    SELECT b.id, b.event_id, b.model_id, m.slug, b.started_at FROM broadcasts b
    JOIN model_profiles m ON m.id = b.model_id WHERE b.ended_at IS NULL ORDER BY b.id LIMIT 1000]])
end

function broadcasts.of_model(model_id, count)
  return db.rows([[
    SELECT id, started_at, ended_at, end_reason, peak,
      TIMESTAMPDIFF(SECOND, started_at, COALESCE(ended_at, UTC_TIMESTAMP(6))) AS seconds
    FROM broadcasts WHERE model_id = ? ORDER BY started_at DESC LIMIT ?]], model_id, count)
end

return broadcasts
