-- footlight migrate: brings the database to the state that this release needs. Runs as the
-- administrative user (mariadb.admin_user), who then gives the services' user what it may do.
local command = require "footlight.command"
local config = require "runtime.config"
local db = require "runtime.db"
local json = require "runtime.json"
local migrations = require "footlight.migrations"

local HOUR = 3600 * 1000

local function open(database)
  local admin = config.get("mariadb.admin_user")
  return db.open {
    name = "admin", user = admin, password = admin and config.get("mariadb.admin_password"),
    database = database, limit_ms = HOUR,
  }
end

local function database_name() return config.get("mariadb.database") or "footlight" end

local function ensure_database(name)
  local server <close> = open(false)
  if not server.one("SELECT 1 AS found FROM information_schema.schemata WHERE schema_name = ?", name) then
    migrations.create_database(server, name)
  end
end

local function run(options, out)
  local name = database_name()
  ensure_database(name)
  local connection <close> = open(name)
  local ok, names = pcall(migrations.run, connection, function(file) out:say("carrying out " .. file) end)
  if not ok then
    if type(names) == "table" then error(names, 0) end
    return out:fail(command.FAILED, (names:gsub("^[^:]+:%d+: ", "")))
  end
  local user, admin = config.get("mariadb.user"), config.get("mariadb.admin_user")
  local granted = 0
  if admin and user and admin ~= user then granted = migrations.grant(connection, user, name) end
  out:result({ carried_out = json.array(names), database = name, granted = granted > 0 and user or nil },
    #names == 0 and "nothing to do: the database is up to date"
      or ("%d migration%s carried out"):format(#names, #names == 1 and "" or "s"))
  return command.OK
end

local function status(_, out)
  local connection <close> = open(database_name())
  local list = migrations.status(connection)
  local lines, shown, pending = {}, {}, 0
  for i, entry in ipairs(list) do
    lines[i] = ("%-10s %-40s %s"):format(entry.state, entry.name, entry.at and entry.at:sub(1, 19) or "")
    shown[i] = { name = entry.name, state = entry.state, at = entry.at }
    if entry.state == "pending" or entry.state == "half done" then pending = pending + 1 end
  end
  local problem = migrations.problem(list)
  out:result({ migrations = shown, pending = pending, problem = problem }, table.concat(lines, "\n"))
  if problem then return out:fail(command.FAILED, problem) end
  return pending == 0 and command.OK or command.FAILED
end

return command.define {
  name = "migrate",
  summary = "bring the database up to date; `migrate status` shows what was done (exit 1: something is pending)",
  arguments = { "[status]" },
  run = function(options, out, what)
    if what == "status" then return status(options, out) end
    if what then return out:fail(command.USAGE, ("'%s' is not `status`"):format(what)) end
    return run(options, out)
  end,
}
