--- Model profiles: performers, from application to approval and beyond.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local outbox = require "store.outbox"

local models = {}

local columns = [[
  SELECT m.id, m.account_id, m.slug, m.stage_name, m.bio, m.languages, m.state, m.state_version,
    m.state_reason, m.approved_at, m.created_at, m.updated_at,
    a.name AS account_name, a.email AS account_email, a.locale AS account_locale
  FROM model_profiles m JOIN accounts a ON a.id = m.account_id ]]

-- From each state to those that may follow (site.md, "Model approval").
local moves = {
  draft = { submitted = true, banned = true },
  submitted = { in_review = true, approved = true, changes_requested = true, rejected = true, banned = true },
  in_review = { approved = true, changes_requested = true, rejected = true, banned = true },
  changes_requested = { submitted = true, rejected = true, banned = true },
  approved = { suspended = true, expired = true, banned = true, closed = true },
  suspended = { approved = true, banned = true, closed = true },
  rejected = { draft = true, banned = true },
  expired = { submitted = true, banned = true },
  banned = {},
  closed = {},
}
local reason_needed = { changes_requested = true, rejected = true, suspended = true, banned = true }
local decisions = { approved = true, changes_requested = true, rejected = true }

function models.by_id(id, tx) return (tx or db).one(columns .. "WHERE m.id = ?", id) end
function models.by_slug(slug, tx) return (tx or db).one(columns .. "WHERE m.slug = ?", slug) end
function models.by_account(account_id, tx)
  return (tx or db).one(columns .. "WHERE m.account_id = ?", account_id)
end

--- May a profile move so? For pages that offer moves.
function models.may_move(from, to) return moves[from] ~= nil and moves[from][to] == true end

local function own_transaction(tx, fn)
  if tx then return fn(tx) end
  return db.transaction(fn, { retries = 3 })
end

local function project(id, old_slug, tx)
  outbox.add("projection", { model = id, old_slug = old_slug }, tx)
end

--- create({ account_id, slug, stage_name =, bio =, state = "draft" }, tx) → id, with its room.
function models.create(values, tx)
  return own_transaction(tx, function(own)
    local state = values.state or "draft"
    assert(state == "draft" or state == "submitted", "a profile begins as a draft or submitted")
    local _, id = own.exec(
      "INSERT INTO model_profiles (account_id, slug, stage_name, bio, state) VALUES (?, ?, ?, ?, ?)",
      values.account_id, values.slug, values.stage_name or values.slug, values.bio or "", state)
    own.exec("INSERT INTO room_settings (model_id) VALUES (?)", id)
    project(id, nil, own)
    return id
  end)
end

-- A new profile, or the account's own one changed and sent in again.
local function profile_for(values, tx)
  local known = tx.one(
    "SELECT id, slug, state FROM model_profiles WHERE account_id = ? FOR UPDATE", values.account_id)
  if not known then
    values.state = "submitted"
    return models.create(values, tx)
  end
  if not models.may_move(known.state, "submitted") then
    error(("a profile that is %s cannot be submitted"):format(known.state), 0)
  end
  tx.exec([[
    UPDATE model_profiles SET slug = ?, stage_name = ?, bio = ?, state = 'submitted', state_reason = NULL,
      state_version = state_version + 1, updated_at = UTC_TIMESTAMP(6) WHERE id = ?]],
    values.slug, values.stage_name, values.bio or "", known.id)
  project(known.id, known.slug ~= values.slug and known.slug or nil, tx)
  return known.id
end

--- apply({ account_id, slug, stage_name, bio, legal_name, born, agreement_version } [, tx]) → model id.
-- The legal name and the date of birth are sealed here.
function models.apply(values, tx)
  return own_transaction(tx, function(own)
    local id = profile_for(values, own)
    own.exec([[
      INSERT INTO model_applications (model_id, step, state, agreement_version, submitted_at)
      VALUES (?, 4, 'submitted', ?, UTC_TIMESTAMP(6))]], id, values.agreement_version)
    own.exec("INSERT INTO identity_records (model_id, legal_name_enc, born_enc) VALUES (?, ?, ?)", id,
      crypto.seal(values.legal_name), crypto.seal(values.born))
    return id
  end)
end

--- Who the model is by law, unsealed: { legal_name, born } or nil. For those who decide.
function models.identity(id)
  local row = db.one([[
    SELECT legal_name_enc, born_enc FROM identity_records WHERE model_id = ? ORDER BY id DESC LIMIT 1]], id)
  if not row then return nil end
  return { legal_name = crypto.unseal(row.legal_name_enc), born = crypto.unseal(row.born_enc) }
end

local function decide_application(values, tx)
  if not decisions[values.to] then return end
  tx.exec([[
    UPDATE model_applications SET state = ?, reviewer_id = ?, note = ?, decided_at = UTC_TIMESTAMP(6)
    WHERE model_id = ? AND state = 'submitted']], values.to, values.reviewer_id, values.reason, values.id)
end

-- The streams, sockets and lists learn of it from these rows within a second.
local function announce(values, tx)
  local model = models.by_id(values.id, tx)
  if values.to == "approved" then
    tx.exec([[
      UPDATE accounts SET role_id = (SELECT id FROM roles WHERE name = 'model'),
        tokens_valid_from = UTC_TIMESTAMP(6), version = version + 1
      WHERE id = ? AND role_id = (SELECT id FROM roles WHERE name = 'viewer')]], model.account_id)
    outbox.add("projection", { account = model.account_id }, tx)
  end
  project(values.id, nil, tx)
  if values.from == "approved" then
    local order = { ["do"] = "drop", slug = model.slug, reason = values.to }
    outbox.add("order", { channel = "ctl:hooks", message = order }, tx)
    outbox.add("order", { channel = "ctl:media", message = order }, tx)
  end
end

--- move({ id, version, from, to, reason =, reviewer_id = } [, tx]) → true; false if somebody else
-- moved it first. Raises for a move that cannot be, or one without the reason that it needs.
function models.move(values, tx)
  if not models.may_move(values.from, values.to) then
    error(("a model cannot go from %s to %s"):format(values.from, values.to), 2)
  end
  if reason_needed[values.to] and (values.reason or "") == "" then
    error(("a model becomes %s for a reason"):format(values.to), 2)
  end
  return own_transaction(tx, function(own)
    local affected = own.exec([[
      UPDATE model_profiles SET state = ?, state_reason = ?, state_version = state_version + 1,
        approved_at = IF(? = 'approved', COALESCE(approved_at, UTC_TIMESTAMP(6)), approved_at),
        updated_at = UTC_TIMESTAMP(6)
      WHERE id = ? AND state = ? AND state_version = ?]], values.to, values.reason, values.to,
      values.id, values.from, values.version)
    if affected ~= 1 then return false end
    decide_application(values, own)
    announce(values, own)
    return true
  end)
end

--- { submitted = 2, approved = 10, … }
function models.count_by_state()
  local counts = {}
  for _, row in ipairs(db.rows("SELECT state, COUNT(*) AS count FROM model_profiles GROUP BY state")) do
    counts[row.state] = row.count
  end
  return counts
end

local function like(text) return "%" .. text:gsub("[\\%%_]", "\\%0") .. "%" end

--- search { query =, state =, limit, offset } → rows, total. Those that wait come first.
function models.search(options)
  local where, values = {}, {}
  if options.state then
    where[#where + 1] = "m.state = ?"
    values[#values + 1] = options.state
  end
  if (options.query or "") ~= "" then
    where[#where + 1] = "(m.slug LIKE ? OR m.stage_name LIKE ? OR a.name LIKE ?)"
    for _ = 1, 3 do values[#values + 1] = like(options.query) end
  end
  local condition = #where > 0 and "WHERE " .. table.concat(where, " AND ") .. " " or ""
  local total = db.one("SELECT COUNT(*) AS count FROM model_profiles m JOIN accounts a ON a.id = m.account_id "
    .. condition, table.unpack(values)).count
  values[#values + 1] = options.limit
  values[#values + 1] = options.offset or 0
  local rows = db.rows(columns .. condition
    .. "ORDER BY m.state IN ('submitted', 'in_review') DESC, m.updated_at DESC, m.id LIMIT ? OFFSET ?",
    table.unpack(values))
  return rows, total
end

-- ---- projections ----------------------------------------------------------------------------------

--- What the services without MariaDB know of a model: p:model:<slug> and p:key:<hash> of
-- docs/house.md. keys: { { hash, in_force } … }, revoked ones too.
function models.projection(id)
  local row = db.one([[
    SELECT m.id, m.account_id, m.slug, m.stage_name, m.state, m.state_version, s.rate, s.version, s.away, s.record,
      s.blocked_countries, s.blocked_networks,
      CAST(COALESCE(h.id, 0) AS INTEGER) AS show_id, COALESCE(h.kind, 'public') AS show_kind,
      (SELECT CAST(COALESCE(UNIX_TIMESTAMP(MAX(e.stage_at)), 0) * 1000 AS INTEGER) FROM shows e
        WHERE e.model_id = m.id) AS show_at
    FROM model_profiles m JOIN room_settings s ON s.model_id = m.id LEFT JOIN shows h ON h.on_stage = m.id
    WHERE m.id = ?]], id)
  if not row then return nil end
  row.keys = db.rows([[
    SELECT key_hash AS hash, revoked_at IS NULL AS in_force FROM stream_keys
    WHERE model_id = ? ORDER BY id DESC LIMIT 100]], id)
  return row
end

function models.ids_after(after, count)
  local ids = {}
  for i, row in ipairs(db.rows("SELECT id FROM model_profiles WHERE id > ? ORDER BY id LIMIT ?", after, count)) do
    ids[i] = row.id
  end
  return ids
end

return models
