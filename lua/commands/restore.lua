--- footlight restore --check: does a backup hold? Both copies are started privately in a folder of their own,
-- what waited in the outbox is booked, and everything is compared. The running site is not touched.
local command = require "footlight.command"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local json = require "runtime.json"
local process = require "runtime.process"
local task = require "runtime.task"

local HOURS = 6 * 3600
local START_SECONDS = 60
local SAID_MOST = 600

-- A program's output; nil and what it said when it failed.
local function run(words)
  words.limit = HOURS
  local outcome, reason = process.run(words)
  if not outcome then return nil, reason end
  if outcome.status ~= 0 then
    -- The cause stands at the beginning, or at the end.
    local said = outcome.errors .. outcome.output
    if #said > 2 * SAID_MOST then said = said:sub(1, SAID_MOST) .. " … " .. said:sub(-SAID_MOST) end
    return nil, ("status %d: %s"):format(outcome.status, said)
  end
  return outcome.output
end

local function shell(script, ...) return run { "sh", "-c", script, "restore", ... } end

local function until_answers(words)
  local limit = task.monotonic_ms() + START_SECONDS * 1000
  while true do
    words.limit = 5
    local outcome = process.run(words)
    if outcome and outcome.status == 0 then return "it answers" end
    if task.monotonic_ms() > limit then return nil, words[1] .. " gets no answer" end
    task.sleep(0.1)
  end
end

local settings = [[
return {
  environment = "production", var = %q,
  redis = { main = { address = "unix:%s/redis.sock" }, money = { address = "unix:%s/redis.sock" } },
  mariadb = { socket = %q, user = %q, database = "footlight", admin_user = %q },
  secrets = { directory = %q },
}
]]

local function write_site(place, user)
  local site = settings:format(place, place, place, place .. "/mariadb.sock", user, user, place .. "/secrets")
  return run { "sh", "-c", [[
    mkdir "$1/secrets" && for name in ticket token cookie hooks seal segment; do
      echo "$2" > "$1/secrets/$name"
    done && cat > "$1/site.lua"]], "restore", place, crypto.hex(crypto.random_bytes(32)), input = site }
end

-- What is compared with what the backup says of itself.
local function unharmed(folder)
  local text, reason = run { "cat", folder .. "/backup.json" }
  if not text then return nil, reason end
  local made = json.decode(text)
  if type(made) ~= "table" then return nil, "backup.json cannot be read" end
  for name, file in pairs { mariadb = "mariadb.sql", money = "money.rdb" } do
    local hash, why = shell('sha256sum < "$1"', folder .. "/" .. file)
    if not hash then return nil, why end
    if type(made[name]) ~= "table" or hash:match "%x+" ~= made[name].sha256 then
      return nil, file .. " is not the file that was written"
    end
  end
  return "as written at " .. tostring(made.made_at)
end

-- The steps, each { name, function }: what it said, or nil and why not.
local function steps_of(folder, place, user)
  local sql, redis = place .. "/mariadb.sock", place .. "/redis.sock"
  local steps = {
    { "look at the files", function() return unharmed(folder) end },
    { "make a database server", function()
      -- Not /tmp: a server that starts removes from there what it takes for remains, be it another's.
      return run { "mariadb-install-db", "--no-defaults", "--datadir=" .. place .. "/mariadb", "--tmpdir=" .. place,
        "--skip-name-resolve", "--skip-test-db", "--auth-root-authentication-method=socket",
        "--auth-root-socket-user=" .. user }
    end },
    { "start it", function()
      task.spawn(process.run, { "mariadbd", "--no-defaults", "--datadir=" .. place .. "/mariadb", "--tmpdir=" .. place,
        "--socket=" .. sql, "--skip-networking", "--skip-log-bin", "--default-time-zone=+00:00",
        "--innodb-flush-log-at-trx-commit=0", "--pid-file=" .. place .. "/mariadb.pid", limit = HOURS })
      return until_answers { "mariadb-admin", "--no-defaults", "--socket=" .. sql, "--user=" .. user, "ping" }
    end },
    { "load the database", function()
      return shell([[
        client() { mariadb --no-defaults --socket="$1" --user="$2" "$3"; }
        echo 'CREATE DATABASE footlight CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci' |
          client "$1" "$2" mysql && client "$1" "$2" footlight < "$3"]], sql, user, folder .. "/mariadb.sql")
    end },
    { "start the money Redis", function()
      local copied, reason = run { "cp", folder .. "/money.rdb", place .. "/money.rdb" }
      if not copied then return nil, reason end
      -- Debian's redis-server is a link to redis-check-rdb, which tells by its name what it is to be.
      local linked, why = shell('ln -s /usr/bin/redis-check-rdb "$1"', place .. "/redis-server")
      if not linked then return nil, why end
      task.spawn(process.run, { place .. "/redis-server", "--port", "0", "--unixsocket", redis, "--dir", place,
        "--dbfilename", "money.rdb", "--appendonly", "no", "--save", "", "--maxmemory-policy", "noeviction",
        "--pidfile", place .. "/redis.pid", limit = HOURS })
      return until_answers { "sh", "-c", '[ "$(redis-cli -s "$1" PING)" = PONG ]', "restore", redis }
    end },
  }
  -- The program that is running, and the code that is running.
  local ours = assert(shell "readlink /proc/$PPID/exe"):match "[^\n]+"
  for _, words in ipairs { { "billing", "flush" }, { "billing", "reconcile", "--wait", "60" },
    { "billing", "verify" }, { "migrate", "status" } } do
    steps[#steps + 1] = { table.concat(words, " "), function()
      return run { ours, "--root", config.get "root", "--site", place .. "/site.lua", table.unpack(words) }
    end }
  end
  return steps
end

local function clear(place)
  shell([[
    for name in redis mariadb; do
      pid=$(cat "$1/$name.pid" 2> /dev/null) && kill -KILL "$pid"
    done
    rm -rf "$1"]], place)
end

local function restore(options, out, folder)
  if not options.check then
    return out:fail(command.USAGE, "only --check is done by itself; docs/operations.md says how a site is restored")
  end
  -- A short path: sockets have at most 107 bytes.
  local place = assert(shell "mktemp -d /tmp/footlight-restore.XXXXXX"):match "%S+"
  local _ <close> = setmetatable({}, { __close = function() clear(place) end })
  local user = assert(shell "id -un"):match "%S+"
  assert(write_site(place, user))
  local found = {}
  for _, step in ipairs(steps_of(folder, place, user)) do
    local ok, said, reason = pcall(step[2])
    if not ok then said, reason = nil, tostring(said) end
    found[#found + 1] = { step = step[1], ok = said ~= nil, said = said or reason }
    out:say(("%-32s %s"):format(step[1], said and "ok" or "failed"))
    if not said then
      return out:fail(command.FAILED, ("the backup does not hold: %s: %s"):format(step[1], reason or "failed"))
    end
  end
  out:result({ folder = folder, steps = found }, "the backup holds")
  return command.OK
end

return command.define {
  name = "restore", summary = "start a backup privately and compare everything in it",
  arguments = { "FOLDER" }, options = { { "--check", "the drill; nothing of the running site is touched" } },
  run = restore,
}
