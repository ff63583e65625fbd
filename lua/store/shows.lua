--- Private, group and ticket shows. Which state may follow which stands in store.show_rules; here every
-- move names the state that its maker saw, so of two tabs that race one loses, and tells the outbox,
-- so that stream, pages and services follow (jobs.show_news).
local db = require "runtime.db"
local outbox = require "store.outbox"
local rules = require "store.show_rules"

local shows = {}

shows.REQUEST_SECONDS = 60
shows.BEGIN_SECONDS = 30   -- from the acceptance until the viewer watches
shows.PAUSE_SECONDS = 30   -- the model's line may be gone so long
shows.POOL_SECONDS = 900
shows.AHEAD_SECONDS = 20 * 3600 -- a ticket show is announced at most so far ahead: holds last a day
local LATE_SECONDS = 3600  -- after it should have begun, a ticket show is given up

local columns = [[
  SELECT s.id, s.model_id, s.requester_id, s.kind, s.state, s.rate, s.spy_rate, s.minimum, s.price, s.size, s.title,
    s.starts_at, s.end_reason, s.created_at, s.started_at, s.ended_at, m.slug, m.stage_name,
    m.account_id AS model_account, a.name AS requester_name,
    CAST(GREATEST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), s.deadline), 0) DIV 1000 AS INTEGER) AS left_ms,
    COALESCE(s.deadline <= UTC_TIMESTAMP(6), 0) AS overdue,
    COALESCE(TIMESTAMPDIFF(SECOND, s.started_at, COALESCE(s.ended_at, UTC_TIMESTAMP(6))), 0) AS seconds,
    COALESCE(TIMESTAMPDIFF(SECOND, s.ended_at, UTC_TIMESTAMP(6)), 0) AS seconds_over,
    TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), s.starts_at) AS starts_in
  FROM shows s JOIN model_profiles m ON m.id = s.model_id LEFT JOIN accounts a ON a.id = s.requester_id ]]

local people = [[
  SELECT p.id, p.show_id, p.account_id, p.role, p.state, p.held, p.captured, p.metered, p.watched_ms, p.seen_at,
    a.name
  FROM show_participants p JOIN accounts a ON a.id = p.account_id ]]

local function finish(row)
  if row then row.overdue = row.overdue == 1 end
  return row
end

local function finish_all(rows)
  for _, row in ipairs(rows) do finish(row) end
  return rows
end

local function own_transaction(tx, fn)
  if tx then return fn(tx) end
  return db.transaction(fn, { retries = 5 })
end

local function tell(id, tx) outbox.add("show", { show = id }, tx) end

function shows.by_id(id, tx) return finish((tx or db).one(columns .. "WHERE s.id = ?", id)) end

--- The show that has a model's stream to itself, or nil.
function shows.on_stage(model_id, tx)
  return finish((tx or db).one(columns .. "WHERE s.on_stage = ?", model_id))
end

--- All of a model that are not over, the oldest first.
function shows.open_of_model(model_id, tx)
  return finish_all((tx or db).rows(columns .. [[
    WHERE s.model_id = ? AND s.state NOT IN ('declined', 'expired', 'withdrawn', 'settled', 'cancelled')
    ORDER BY s.id LIMIT 200]], model_id))
end

--- All that are not over, for jobs.
function shows.open()
  return finish_all(db.rows(columns .. [[
    WHERE s.state NOT IN ('declined', 'expired', 'withdrawn', 'settled', 'cancelled') ORDER BY s.id LIMIT 5000]]))
end

--- A viewer's open request anywhere, or nil.
function shows.request_of(account_id, tx)
  return finish((tx or db).one(columns .. "WHERE s.open_request = ?", account_id))
end

function shows.participants(show_id, tx)
  return (tx or db).rows(people .. "WHERE p.show_id = ? ORDER BY p.id", show_id)
end

function shows.participant(show_id, account_id, tx)
  return (tx or db).one(people .. "WHERE p.show_id = ? AND p.account_id = ?", show_id, account_id)
end

--- Those of whom something is still to be settled although their part is over.
function shows.unsettled()
  return db.rows(people .. [[
    JOIN shows s ON s.id = p.show_id
    WHERE p.state = 'left' OR (p.state IN ('asked', 'in') AND s.state IN ('declined', 'expired', 'withdrawn', 'ending',
      'settled', 'cancelled'))
    ORDER BY p.id LIMIT 500]])
end

--- The last show of a viewer in a room, if it ended at most so many seconds ago.
function shows.last_of(account_id, model_id, seconds)
  return finish(db.one(columns .. [[
    JOIN show_participants p ON p.show_id = s.id
    WHERE p.account_id = ? AND s.model_id = ? AND s.ended_at > UTC_TIMESTAMP(6) - INTERVAL ? SECOND
    ORDER BY s.ended_at DESC LIMIT 1]], account_id, model_id, seconds))
end

--- The same of a model, whoever took part.
function shows.last_of_model(model_id, seconds)
  return finish(db.one(columns .. [[
    WHERE s.model_id = ? AND s.ended_at > UTC_TIMESTAMP(6) - INTERVAL ? SECOND
    ORDER BY s.ended_at DESC LIMIT 1]], model_id, seconds))
end

--- The prices of a room, locked: who agreed to one is not overtaken by a change.
local function prices(model_id, tx)
  return tx.one([[
    SELECT m.state, s.private_rate, s.private_minimum, s.spy_rate, s.group_rate, s.group_minimum, s.group_size
    FROM room_settings s JOIN model_profiles m ON m.id = s.model_id WHERE s.model_id = ? FOR UPDATE]], model_id)
end

local function add_participant(show_id, account_id, role, state, held, tx)
  tx.exec("INSERT INTO show_participants (show_id, account_id, role, state, held) VALUES (?, ?, ?, ?, ?)",
    show_id, account_id, role, state, held)
end

--- request { model_id, account_id, rate, minimum } → the show, or nil and "price" (it is another now), "off",
-- "open" (this viewer has a request already) or "busy" (the model is in a show).
function shows.request(values, tx)
  return own_transaction(tx, function(own)
    -- In this order everywhere: the viewer's row, then the room's.
    own.one("SELECT id FROM accounts WHERE id = ? FOR UPDATE", values.account_id)
    local room = prices(values.model_id, own)
    if not room or room.state ~= "approved" or not room.private_rate then return nil, "off" end
    if room.private_rate ~= values.rate or room.private_minimum ~= values.minimum then return nil, "price" end
    if shows.request_of(values.account_id, own) then return nil, "open" end
    if shows.on_stage(values.model_id, own) then return nil, "busy" end
    local _, id = own.exec([[
      INSERT INTO shows (model_id, requester_id, kind, state, rate, spy_rate, minimum, deadline)
      VALUES (?, ?, 'private', 'requested', ?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? SECOND)]],
      values.model_id, values.account_id, room.private_rate, room.spy_rate, room.private_minimum,
      values.seconds or shows.REQUEST_SECONDS)
    add_participant(id, values.account_id, "viewer", "asked", 0, own)
    tell(id, own)
    return shows.by_id(id, own)
  end)
end

--- Opens a pool for a group show: the show, or nil and "off" or "open".
function shows.pool(values, tx)
  return own_transaction(tx, function(own)
    local room = prices(values.model_id, own)
    if not room or room.state ~= "approved" or not room.group_rate then return nil, "off" end
    for _, show in ipairs(shows.open_of_model(values.model_id, own)) do
      if show.kind == "group" then return nil, "open" end
    end
    local _, id = own.exec([[
      INSERT INTO shows (model_id, kind, state, rate, spy_rate, minimum, size, deadline)
      VALUES (?, 'group', 'pooling', ?, NULL, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? SECOND)]], values.model_id,
      room.group_rate, room.group_minimum, room.group_size, values.seconds or shows.POOL_SECONDS)
    tell(id, own)
    return shows.by_id(id, own)
  end)
end

--- announce { model_id, title, price, starts_in = seconds } → the show, or nil and "off" or "open".
function shows.announce(values, tx)
  return own_transaction(tx, function(own)
    local room = prices(values.model_id, own)
    if not room or room.state ~= "approved" then return nil, "off" end
    for _, show in ipairs(shows.open_of_model(values.model_id, own)) do
      if show.kind == "ticket" then return nil, "open" end
    end
    local _, id = own.exec([[
      INSERT INTO shows (model_id, kind, state, price, title, starts_at, deadline)
      VALUES (?, 'ticket', 'announced', ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? SECOND,
        UTC_TIMESTAMP(6) + INTERVAL ? SECOND)]], values.model_id, values.price, values.title, values.starts_in,
      values.starts_in + LATE_SECONDS)
    tell(id, own)
    return shows.by_id(id, own)
  end)
end

local ends = { declined = true, expired = true, withdrawn = true, ending = true, settled = true, cancelled = true }

--- move { id, from, to, reason =, seconds = (until it has lasted long enough) } → true; false if it is no
-- longer in `from`, or another show has the stream. Raises for a move that no show may make.
function shows.move(values, tx)
  return own_transaction(tx, function(own)
    local show = own.one("SELECT id, model_id, kind, state, ended_at FROM shows WHERE id = ? FOR UPDATE", values.id)
    if not show then error("there is no such show", 0) end
    if not rules.may_move(show.kind, values.from, values.to) then
      error(("a %s show that is %s cannot become %s"):format(show.kind, values.from, values.to), 0)
    end
    if show.state ~= values.from then return false end
    local before, after = rules.on_stage(values.from), rules.on_stage(values.to)
    if after and not before then
      own.one("SELECT model_id FROM room_settings WHERE model_id = ? FOR UPDATE", show.model_id)
      if own.one("SELECT id FROM shows WHERE on_stage = ?", show.model_id) then return false end
    end
    local begins = values.to == "active" or values.to == "live"
    own.exec([[
      UPDATE shows SET state = ?, end_reason = COALESCE(end_reason, ?),
        deadline = IF(? IS NULL, NULL, UTC_TIMESTAMP(6) + INTERVAL COALESCE(?, 0) SECOND),
        started_at = IF(?, COALESCE(started_at, UTC_TIMESTAMP(6)), started_at),
        ended_at = IF(?, COALESCE(ended_at, UTC_TIMESTAMP(6)), ended_at),
        stage_at = IF(?, UTC_TIMESTAMP(6), stage_at) WHERE id = ?]],
      values.to, values.reason, values.seconds, values.seconds, begins, ends[values.to] == true, before ~= after,
      values.id)
    tell(values.id, own)
    return true
  end)
end

--- Ends a show for whatever reason, wherever it stands. Returns the state that it came to, nil if there was
-- nothing to end.
function shows.finish(id, reason, tx)
  return own_transaction(tx, function(own)
    own.one("SELECT id FROM shows WHERE id = ? FOR UPDATE", id)
    local show = shows.by_id(id, own)
    if not show or rules.is_over(show.state) then return nil end
    local to = rules.end_state(show, show.seconds, reason)
    if not to or not shows.move({ id = id, from = show.state, to = to, reason = reason }, own) then return nil end
    return to
  end)
end

--- What was set aside for a viewer who asked, once it is; nil if the show is not what it was.
function shows.accept(id, held, tx)
  return own_transaction(tx, function(own)
    local moved = shows.move({ id = id, from = "requested", to = "accepted", seconds = shows.BEGIN_SECONDS }, own)
    if not moved then return false end
    own.exec("UPDATE show_participants SET state = 'in', held = ? WHERE show_id = ? AND role = 'viewer'", held, id)
    return true
  end)
end

--- Somebody takes part, and `held` was set aside for it. states: in which the show must be. False if it
-- is not, or if he takes part already.
function shows.join(values, tx)
  return own_transaction(tx, function(own)
    local show = own.one("SELECT state FROM shows WHERE id = ? FOR UPDATE", values.id)
    if not show or not values.states[show.state] then return false end
    if shows.participant(values.id, values.account_id, own) then return false end
    add_participant(values.id, values.account_id, values.role, "in", values.held or 0, own)
    tell(values.id, own)
    return true
  end)
end

--- One of several goes; the show goes on. True if he was in.
function shows.leave(id, account_id, tx)
  return own_transaction(tx, function(own)
    local gone = own.exec([[
      UPDATE show_participants SET state = 'left' WHERE show_id = ? AND account_id = ? AND state = 'in']],
      id, account_id) == 1
    if gone then tell(id, own) end
    return gone
  end)
end

--- The evidence that there is now; it only grows.
function shows.save_evidence(participant_id, watched_ms, tx)
  (tx or db).exec([[
    UPDATE show_participants SET watched_ms = GREATEST(watched_ms, ?), seen_at = UTC_TIMESTAMP(6)
    WHERE id = ? AND state <> 'settled']], watched_ms, participant_id)
end

--- What was held has been taken, before the end.
function shows.captured(participant_id, amount, tx)
  (tx or db).exec("UPDATE show_participants SET captured = ? WHERE id = ? AND captured = 0", amount, participant_id)
end

--- A participant is done with; a private show whose viewer is, too. Again: nothing.
function shows.settle(values, tx)
  return own_transaction(tx, function(own)
    local affected = own.exec([[
      UPDATE show_participants SET state = 'settled', captured = ?, metered = ?, settled_at = UTC_TIMESTAMP(6)
      WHERE id = ? AND state <> 'settled']], values.captured, values.metered, values.participant)
    return affected == 1
  end)
end

--- Participants who are not settled yet: an ending show is over when there are none.
function shows.count_unsettled(id)
  return db.one("SELECT COUNT(*) AS n FROM show_participants WHERE show_id = ? AND state <> 'settled'", id).n
end

--- Prices that were not given stay: { model_id, version, private_rate, private_minimum, spy_rate,
-- group_rate, group_minimum, group_size } → false if somebody else changed the room meanwhile. nil turns
-- a kind of show off.
function shows.set_prices(values, tx)
  return own_transaction(tx, function(own)
    local affected = own.exec([[
      UPDATE room_settings SET private_rate = ?, private_minimum = ?, spy_rate = ?, group_rate = ?, group_minimum = ?,
        group_size = ?, version = version + 1, updated_at = UTC_TIMESTAMP(6) WHERE model_id = ? AND version = ?]],
      values.private_rate, values.private_minimum, values.spy_rate, values.group_rate, values.group_minimum,
      values.group_size, values.model_id, values.version)
    return affected == 1
  end)
end

--- What a model's pages say under the public picture: back in a moment.
function shows.set_away(model_id, away, tx)
  return own_transaction(tx, function(own)
    own.exec("UPDATE room_settings SET away = ? WHERE model_id = ?", away, model_id)
    local row = own.one("SELECT slug FROM model_profiles WHERE id = ?", model_id)
    outbox.add("show", { model = model_id, slug = row.slug }, own)
  end)
end

return shows
