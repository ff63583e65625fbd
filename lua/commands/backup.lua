--- footlight backup: a copy of both stores that belong together, while everything runs. The database is
-- copied first, as of one moment; until the money Redis is copied, too, what is booked stays in its outbox.
-- So the copy of Redis has everything that the copy of the database lacks, and books it again when it runs.
local command = require "footlight.command"
local config = require "runtime.config"
local db = require "runtime.db"
local json = require "runtime.json"
local process = require "runtime.process"

local HOURS = 6 * 3600 -- for copying very large stores
local LOCK_SECONDS = 5

local function run(out, what, words)
  words.limit = HOURS
  local outcome, reason = process.run(words)
  if not outcome or outcome.status ~= 0 then
    out:stop(command.FAILED, ("%s: %s"):format(what, outcome and outcome.errors:sub(-500) or reason))
  end
  return outcome.output
end

local function dump_database(out, path)
  local words = { "mariadb-dump", "--no-defaults", "--single-transaction", "--skip-lock-tables", "--routines",
    "--triggers", "--hex-blob", "--default-character-set=utf8mb4", "--result-file=" .. path }
  local function add(option, value)
    if value then words[#words + 1] = ("--%s=%s"):format(option, value) end
  end
  add("socket", config.get "mariadb.socket")
  if not config.get "mariadb.socket" then
    add("host", config.get "mariadb.host")
    add("port", config.get "mariadb.port")
  end
  local admin = config.get "mariadb.admin_user"
  add("user", admin or config.get "mariadb.user")
  local password = config.get(admin and "mariadb.admin_password" or "mariadb.password")
  -- In the environment, where other users of the machine cannot read it.
  words.environment = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", password and "MYSQL_PWD=" .. password or nil }
  words[#words + 1] = config.get("mariadb.database", "footlight")
  run(out, "the database was not copied", words)
end

local function dump_redis(out, path)
  local address = config.get "redis.money.address"
  local socket = address:match "^unix:(.+)$"
  local host, port = address:match "^(.+):(%d+)$"
  local words = { "redis-cli" }
  for _, word in ipairs(socket and { "-s", socket } or { "-h", host, "-p", port }) do words[#words + 1] = word end
  words[#words + 1], words[#words + 2] = "--rdb", path
  run(out, "the money Redis was not copied", words)
end

local function describe(out, path)
  local size, hash = run(out, path, { "sh", "-c", 'stat -c %s "$1" && sha256sum < "$1"', "backup", path })
    :match "^(%d+)\n(%x+)"
  return { bytes = math.tointeger(tonumber(size)), sha256 = hash }
end

local function backup(_, out, folder)
  -- Nobody else may read it: it has everything that the stores have.
  run(out, "the folder cannot be made", { "mkdir", "-m", "700", "--", folder })
  local sql, rdb, cursors = folder .. "/mariadb.sql", folder .. "/money.rdb", nil
  db.session(function(tx)
    if tx.one("SELECT GET_LOCK('footlight.backup', ?) AS got", LOCK_SECONDS).got ~= 1 then
      out:stop(command.FAILED, "another backup is being made")
    end
    -- The lock ends with this connection, whatever happens.
    dump_database(out, sql)
    dump_redis(out, rdb)
    cursors = tx.rows "SELECT shard, epoch, stream_ms, stream_n FROM ledger_cursors ORDER BY shard"
    tx.one "SELECT RELEASE_LOCK('footlight.backup') AS released"
  end)
  local made = { made_at = os.date "!%Y-%m-%dT%H:%M:%SZ", database = config.get("mariadb.database", "footlight"),
    mariadb = describe(out, sql), money = describe(out, rdb), cursors = cursors }
  run(out, "the description cannot be written", { "sh", "-c", 'umask 077; cat > "$1"', "backup",
    folder .. "/backup.json", input = json.encode(made) })
  out:result(made, ("%s: database %d bytes, money Redis %d bytes"):format(folder, made.mariadb.bytes,
    made.money.bytes))
  return command.OK
end

return command.define {
  name = "backup", summary = "copy MariaDB and the money Redis, consistently, while they run",
  arguments = { "FOLDER" }, run = backup,
}
