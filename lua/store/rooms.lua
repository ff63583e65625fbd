--- Rooms as visitors see them: the profile of an approved model with its settings and tags. Who is
-- live is in Redis, not here.
local db = require "runtime.db"
local outbox = require "store.outbox"

local rooms = {}

local LISTED = 2000 -- rooms on one list; beyond it search finds them

local columns = [[
  SELECT m.id, m.account_id, m.slug, m.stage_name, m.bio, m.languages, m.state, m.created_at, s.title,
    s.rate, s.private_rate, s.private_minimum, s.spy_rate, s.group_rate, s.group_minimum, s.group_size, s.away,
    s.blocked_countries, s.blocked_networks,
    s.tips_offline, s.version, h.id AS show_id, h.kind AS show_kind,
    (SELECT GROUP_CONCAT(t.name ORDER BY t.name SEPARATOR ',') FROM room_tags r
      JOIN tags t ON t.id = r.tag_id WHERE r.model_id = m.id) AS tags
  FROM model_profiles m JOIN room_settings s ON s.model_id = m.id LEFT JOIN shows h ON h.on_stage = m.id ]]

local function finish(row)
  if not row then return nil end
  local tags = {}
  for tag in (row.tags or ""):gmatch("[^,]+") do tags[#tags + 1] = tag end
  row.tags = tags
  row.tips_offline = row.tips_offline == 1
  row.away = row.away == 1
  return row
end

local function finish_all(rows)
  for _, row in ipairs(rows) do finish(row) end
  return rows
end

--- Any room, whatever its state; `state` says whether visitors may see it.
function rooms.by_slug(slug, tx) return finish((tx or db).one(columns .. "WHERE m.slug = ?", slug)) end
function rooms.by_model(id, tx) return finish((tx or db).one(columns .. "WHERE m.id = ?", id)) end

--- Whence a room may not be seen: countries "AT DE", networks "192.0.2.0/24,…". Who watches from there is cut.
function rooms.set_blocks(model_id, countries, networks)
  db.transaction(function(tx)
    tx.exec("UPDATE room_settings SET blocked_countries = ?, blocked_networks = ? WHERE model_id = ?", countries, networks,
      model_id)
    local row = tx.one("SELECT slug FROM model_profiles WHERE id = ?", model_id)
    outbox.add("projection", { model = model_id }, tx)
    local order = { ["do"] = "ask", slug = row.slug, reason = "regions" }
    outbox.add("order", { channel = "ctl:hooks", message = order }, tx)
    outbox.add("order", { channel = "ctl:media", message = order }, tx)
  end, { retries = 5 })
end

--- All rooms that visitors may see, in a stable order.
function rooms.listed()
  return finish_all(db.rows(columns .. "WHERE m.state = 'approved' ORDER BY m.stage_name, m.id LIMIT ?", LISTED))
end

--- Those whose name, title, text or tag holds the words.
function rooms.search(query)
  local pattern = "%" .. query:gsub("[\\%%_]", "\\%0") .. "%"
  return finish_all(db.rows(columns .. [[
    WHERE m.state = 'approved' AND (m.stage_name LIKE ? OR m.slug LIKE ? OR s.title LIKE ? OR m.bio LIKE ?
      OR EXISTS (SELECT 1 FROM room_tags r JOIN tags t ON t.id = r.tag_id
        WHERE r.model_id = m.id AND t.name LIKE ?))
    ORDER BY m.stage_name, m.id LIMIT ?]], pattern, pattern, pattern, pattern, pattern, LISTED))
end

local function set_tags(model_id, names, tx)
  tx.exec("DELETE FROM room_tags WHERE model_id = ?", model_id)
  for _, name in ipairs(names) do
    -- Locked in one order by everyone: two rooms that bring the same new tags do not deadlock.
    tx.exec("INSERT INTO tags (name, label) VALUES (?, ?) ON DUPLICATE KEY UPDATE id = id", name, name)
    tx.exec("INSERT INTO room_tags (model_id, tag_id) SELECT ?, id FROM tags WHERE name = ?", model_id, name)
  end
end

local function save(values, tx)
  local affected = tx.exec([[
    UPDATE room_settings SET title = COALESCE(?, title), rate = COALESCE(?, rate),
      tips_offline = COALESCE(?, tips_offline), version = version + 1, updated_at = UTC_TIMESTAMP(6)
    WHERE model_id = ? AND version = ?]], values.title, values.rate, values.tips_offline,
    values.model_id, values.version)
  if affected ~= 1 then return false end
  if values.bio then
    tx.exec("UPDATE model_profiles SET bio = ?, updated_at = UTC_TIMESTAMP(6) WHERE id = ?",
      values.bio, values.model_id)
  end
  if values.tags then
    local names = { table.unpack(values.tags) }
    table.sort(names)
    set_tags(values.model_id, names, tx)
  end
  outbox.add("projection", { model = values.model_id }, tx)
  return true
end

--- save({ model_id, version, title =, bio =, rate =, tags = { … }, tips_offline = } [, tx]) → true, or
-- false if the settings were changed by somebody else meanwhile. What is not given stays.
function rooms.save(values, tx)
  if tx then return save(values, tx) end
  return db.transaction(function(own) return save(values, own) end, { retries = 3 })
end

return rooms
