--- Migrations: the numbered SQL files of migrations/, each carried out once, in order, under a lock.
--
-- DDL of MariaDB cannot be rolled back, so progress is kept by the statement: a file that failed half
-- way is gone on with where it stopped, once its remaining statements have been put right. A file that
-- was carried out whole is never touched again; if it changes, that is an error.
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local file = require "runtime.file"

local migrations = {}

local LOCK, LOCK_SECONDS = "footlight.migrate", 30

-- Tables on which the services may do less than read and write (docs/billing.md). What is not named
-- here: SELECT, INSERT, UPDATE, DELETE.
local grants = {
  ledger_txns = "SELECT, INSERT", ledger_entries = "SELECT, INSERT", ledger_batches = "SELECT, INSERT",
  ledger_quarantine = "SELECT, INSERT, UPDATE", ledger_cursors = "SELECT, INSERT, UPDATE",
  wallets = "SELECT, INSERT", wallet_balances = "SELECT, INSERT, UPDATE", tips = "SELECT, INSERT",
  settings = "SELECT, INSERT",
  revenue_splits = "SELECT, INSERT", ledger_periods = "SELECT, INSERT", audit_log = "SELECT, INSERT", audit_head = "SELECT, UPDATE",
  schema_migrations = "SELECT", payment_events = "SELECT, INSERT, UPDATE",
  refunds = "SELECT, INSERT, UPDATE", disputes = "SELECT, INSERT, UPDATE",
  promos = "SELECT, INSERT, UPDATE", promo_uses = "SELECT, INSERT",
  payout_methods = "SELECT, INSERT", payout_holds = "SELECT, INSERT", payout_batches = "SELECT, INSERT, UPDATE",
  payouts = "SELECT, INSERT, UPDATE", statements = "SELECT, INSERT",
}
local all_rights = "SELECT, INSERT, UPDATE, DELETE"

-- Where a quoted text or a comment that begins at `at` ends: the index of its last byte.
local function skip(sql, at)
  local two = sql:sub(at, at + 1)
  local one = two:sub(1, 1)
  if two == "/*" then
    local _, stop = sql:find("*/", at + 2, true)
    return stop or error("a comment does not end", 0)
  elseif one == "#" or (two == "--" and sql:find("^%-%-[%s]", at)) then
    return sql:find("\n", at, true) or #sql
  elseif one == "'" or one == '"' or one == "`" then
    local i = at + 1
    while true do
      local stop = sql:find(one == "`" and "`" or "[\\" .. one .. "]", i) or error("a quoted text does not end", 0)
      local char = sql:sub(stop, stop)
      if char == "\\" then i = stop + 2
      elseif sql:sub(stop + 1, stop + 1) == one then i = stop + 2
      else return stop end
    end
  end
  return nil
end

--- The statements of a file, without comments between them.
function migrations.split(sql)
  local statements, part, i, from = {}, {}, 1, 1
  local function keep(upto)
    part[#part + 1] = sql:sub(from, upto)
  end
  local function finish()
    local text = table.concat(part):match("^%s*(.-)%s*$")
    if text ~= "" then statements[#statements + 1] = text end
    part = {}
  end
  while true do
    local at = sql:find("[;'\"`#/%-]", i)
    if not at then break end
    local char = sql:sub(at, at)
    if char == ";" then
      keep(at - 1)
      finish()
      i, from = at + 1, at + 1
    else
      local stop = skip(sql, at)
      if stop and (char == "#" or char == "-" or char == "/") then
        keep(at - 1)
        part[#part + 1] = " "
        from = stop + 1
      end
      i = (stop or at) + 1
    end
  end
  keep(#sql)
  finish()
  return statements
end

--- The files, in order: { { name, number, path } … }. Raises for a name that is none or comes twice.
function migrations.files(folder)
  folder = folder or config.get("root") .. "/migrations"
  local list, seen = {}, {}
  for _, name in ipairs(assert(file.list(folder))) do
    if name:find("%.sql$") then
      local number = name:match("^(%d%d%d%d)_[a-z0-9_]+%.sql$")
      if not number then error(("migrations/%s is not named NNNN_name.sql"):format(name), 0) end
      if seen[number] then error(("migrations %s and %s have the same number"):format(seen[number], name), 0) end
      seen[number] = name
      list[#list + 1] = { name = name, number = tonumber(number), path = folder .. "/" .. name }
    end
  end
  table.sort(list, function(a, b) return a.number < b.number end)
  for _, entry in ipairs(list) do
    entry.text = assert(file.read(entry.path))
    entry.checksum = crypto.hex(crypto.sha256(entry.text))
  end
  return list
end

local function quoted(name) return "`" .. name:gsub("`", "``") .. "`" end

local function has_table(tx, name)
  return tx.one([[
    SELECT 1 AS found FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name = ?]], name) ~= nil
end

local create_table = [[
  CREATE TABLE IF NOT EXISTS schema_migrations (
    name            VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    checksum        CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    statements_done INT UNSIGNED NOT NULL DEFAULT 0,
    started_at      DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    finished_at     DATETIME(6) NULL
  ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci]]

--- Compares the files with what the database says was carried out: a list of
-- { name, state = "applied" | "pending" | "half done" | "changed" | "missing" | "late", at =, done = }.
function migrations.status(tx, folder)
  local known, list, newest = {}, {}, ""
  if has_table(tx, "schema_migrations") then
    for _, row in ipairs(tx.rows "SELECT name, checksum, statements_done, finished_at FROM schema_migrations") do
      known[row.name] = row
      if row.name > newest then newest = row.name end
    end
  end
  for _, entry in ipairs(migrations.files(folder)) do
    local row = known[entry.name]
    entry.state = "pending"
    entry.done = row and row.statements_done or 0
    if row and row.finished_at then
      entry.state = row.checksum == entry.checksum and "applied" or "changed"
      entry.at = row.finished_at
    elseif row then
      entry.state = "half done"
    elseif entry.name < newest then
      entry.state = "late"
    end
    known[entry.name] = nil
    list[#list + 1] = entry
  end
  for name, row in pairs(known) do
    list[#list + 1] = { name = name, state = "missing", at = row.finished_at, done = row.statements_done }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local problems = {
  changed = "%s was changed after it had been carried out; write a new migration instead",
  missing = "%s was carried out but its file is gone",
  late = "%s comes before migrations that were carried out already; give it a higher number",
}

--- What makes going on wrong, or nil.
function migrations.problem(list)
  for _, entry in ipairs(list) do
    if problems[entry.state] then return problems[entry.state]:format(entry.name) end
  end
  return nil
end

local function carry_out(tx, entry)
  tx.exec([[
    INSERT INTO schema_migrations (name, checksum) VALUES (?, ?)
    ON DUPLICATE KEY UPDATE checksum = VALUES(checksum)]], entry.name, entry.checksum)
  local statements = migrations.split(entry.text)
  for i = entry.done + 1, #statements do
    local ok, reason = pcall(tx.exec, statements[i])
    if not ok then
      error(("%s, statement %d of %d: %s"):format(entry.name, i, #statements,
        type(reason) == "table" and reason.message or tostring(reason)), 0)
    end
    tx.exec("UPDATE schema_migrations SET statements_done = ? WHERE name = ?", i, entry.name)
  end
  tx.exec("UPDATE schema_migrations SET finished_at = UTC_TIMESTAMP(6) WHERE name = ?", entry.name)
end

--- Carries out what is pending on a connection (db.open). on_file(name) is told of each file before it
-- starts. Returns the names. Raises one sentence when something is wrong; nothing is done then, or
-- everything before it.
function migrations.run(connection, on_file, folder)
  return connection.session(function(tx)
    if tx.one("SELECT GET_LOCK(?, ?) AS got", LOCK, LOCK_SECONDS).got ~= 1 then
      error("another migration is running", 0)
    end
    tx.exec(create_table)
    local list = migrations.status(tx, folder)
    local problem = migrations.problem(list)
    if problem then error(problem, 0) end
    local names = {}
    for _, entry in ipairs(list) do
      if entry.state ~= "applied" then
        if on_file then on_file(entry.name) end
        carry_out(tx, entry)
        names[#names + 1] = entry.name
      end
    end
    return names
  end)
end

-- ---- grants ---------------------------------------------------------------------------------------

local function set_of(rights)
  local set = {}
  for right in rights:gmatch("%u+") do set[right] = true end
  return set
end

-- What the account may do beyond what it should is taken away, what it lacks is given: a running site
-- never stands without the rights that it keeps.
local function put_right(tx, grantee, database, table_name, wanted)
  local spoken = ("'%s'@'%s'"):format(grantee.user, grantee.host)
  local has = {}
  for _, row in ipairs(tx.rows([[
    SELECT privilege_type AS privilege_type FROM information_schema.table_privileges
    WHERE grantee = ? AND table_schema = ? AND table_name = ?]], spoken, database, table_name)) do
    has[row.privilege_type] = true
  end
  local target = ("%s.%s"):format(quoted(database), quoted(table_name))
  local account = ("'%s'@'%s'"):format(grantee.user:gsub("'", "''"), grantee.host:gsub("'", "''"))
  local too_much = {}
  for right in pairs(has) do
    if not set_of(wanted)[right] then too_much[#too_much + 1] = right end
  end
  for right in pairs(set_of(wanted)) do
    if not has[right] then
      tx.exec(("GRANT %s ON %s TO %s"):format(wanted, target, account))
      break
    end
  end
  if #too_much > 0 then
    tx.exec(("REVOKE %s ON %s FROM %s"):format(table.concat(too_much, ", "), target, account))
  end
end

--- Gives the services' user exactly what it needs on each table, append-only where the ledger and the
-- audit log demand it. Returns the number of accounts of that name.
function migrations.grant(connection, user, database)
  local accounts = connection.rows("SELECT user AS user, host AS host FROM mysql.user WHERE user = ?", user)
  local tables = connection.rows([[
    SELECT table_name AS name FROM information_schema.tables
    WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY table_name]], database)
  for _, grantee in ipairs(accounts) do
    for _, entry in ipairs(tables) do
      put_right(connection, grantee, database, entry.name, grants[entry.name] or all_rights)
    end
    -- Rights on the whole database would be rights on the ledger.
    local spoken = ("'%s'@'%s'"):format(grantee.user, grantee.host)
    if #connection.rows([[
      SELECT 1 AS one FROM information_schema.schema_privileges WHERE grantee = ? AND table_schema = ?
      LIMIT 1]], spoken, database) > 0 then
      connection.exec(("REVOKE ALL PRIVILEGES ON %s.* FROM '%s'@'%s'"):format(quoted(database),
        grantee.user:gsub("'", "''"), grantee.host:gsub("'", "''")))
    end
  end
  return #accounts
end

function migrations.create_database(connection, name)
  connection.exec(("CREATE DATABASE IF NOT EXISTS %s CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
    :format(quoted(name)))
end

function migrations.drop_database(connection, name)
  connection.exec(("DROP DATABASE IF EXISTS %s"):format(quoted(name)))
end

return migrations
