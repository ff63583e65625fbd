--- Recordings of public broadcasts: which there are, whose, how long and how large. The files are
-- <media.recordings>/<name>.flv (raw) or .mp4 (ready).
local db = require "runtime.db"
local outbox = require "store.outbox"

local recordings = {}

local columns = [[
  SELECT r.id, r.model_id, r.name, r.state, r.seconds, r.bytes, r.ended_at, m.slug
  FROM recordings r JOIN model_profiles m ON m.id = r.model_id ]]

--- A file that nginx has finished, by the stream's name. True if it is new; false if it is known, or nobody's.
function recordings.add(values, tx)
  return (tx or db).exec([[
    INSERT IGNORE INTO recordings (model_id, name, bytes, ended_at)
    SELECT id, ?, ?, FROM_UNIXTIME(? / 1000) FROM model_profiles WHERE slug = ?]],
    values.name, values.bytes, values.at, values.slug) == 1
end

function recordings.by_id(id, tx) return (tx or db).one(columns .. "WHERE r.id = ?", id) end
function recordings.by_name(name, tx) return (tx or db).one(columns .. "WHERE r.name = ?", name) end
function recordings.of_model(model_id) return db.rows(columns .. "WHERE r.model_id = ? ORDER BY r.id DESC LIMIT 500", model_id) end
function recordings.raw() return db.rows(columns .. "WHERE r.state = 'raw' ORDER BY r.id LIMIT 20") end

--- Those that ended more than so many days ago.
function recordings.past(days)
  return db.rows(columns .. "WHERE r.ended_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY ORDER BY r.id LIMIT 100", days)
end

--- done { id, state = "ready" or "failed", seconds =, bytes = }
function recordings.done(values)
  db.exec("UPDATE recordings SET state = ?, seconds = ?, bytes = ? WHERE id = ?", values.state, values.seconds or 0,
    values.bytes or 0, values.id)
end

--- True if it was there. The files are the caller's to remove, afterwards.
function recordings.delete(id) return db.exec("DELETE FROM recordings WHERE id = ?", id) == 1 end

--- { count, bytes } that a model keeps.
function recordings.usage(model_id)
  return db.one([[SELECT COUNT(*) AS count, CAST(COALESCE(SUM(bytes), 0) AS INTEGER) AS bytes
    FROM recordings WHERE model_id = ?]], model_id)
end

--- Slug → bytes of the models who record and keep something.
function recordings.kept()
  local map = {}
  for _, row in ipairs(db.rows([[
    SELECT m.slug, CAST(SUM(r.bytes) AS INTEGER) AS bytes FROM recordings r JOIN model_profiles m ON m.id = r.model_id
    JOIN room_settings s ON s.model_id = m.id WHERE s.record GROUP BY m.slug]])) do map[row.slug] = row.bytes end
  return map
end

function recordings.wanted(model_id)
  return db.one("SELECT record FROM room_settings WHERE model_id = ?", model_id).record == 1
end

function recordings.set_wanted(model_id, wanted)
  db.transaction(function(tx)
    tx.exec("UPDATE room_settings SET record = ? WHERE model_id = ?", wanted, model_id)
    outbox.add("projection", { model = model_id }, tx)
  end, { retries = 5 })
end

return recordings
