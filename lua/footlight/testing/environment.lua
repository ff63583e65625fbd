--- Stores of one's own, for tests that must not meet others: two Redis servers and a database made by the
-- migrations, with a site file that names them. `footlight test --jobs` opens one for each job.
--
--   local place <close> = environment.open("mine")
--   process.run(place:words("test", "tests/site/orders_spec.lua"))
local config = require "runtime.config"
local db = require "runtime.db"
local migrations = require "footlight.migrations"
local process = require "runtime.process"
local task = require "runtime.task"
local inside = require "runtime.testing"
local testing = require "footlight.testing"

local environment = {}

local DAY = 86400 -- the longest that a child may live
local START_SECONDS, MIGRATE_SECONDS = 15, 300

local Place = {}
Place.__index = Place

local function read(path)
  local descriptor <close> = assert(io.open(path, "rb"))
  return descriptor:read("a")
end

local function write(path, text)
  local descriptor <close> = assert(io.open(path, "wb"))
  assert(descriptor:write(text))
end

--- The site file that this process was started with, or nil.
function environment.site()
  local words = {}
  for word in read("/proc/self/cmdline"):gmatch("[^%z]+") do words[#words + 1] = word end
  for i, word in ipairs(words) do
    if word == "--site" then return words[i + 1] end
  end
  return os.getenv "FOOTLIGHT_SITE"
end

--- The text of a site file: ours, with these lines of Lua at its end, which may change `site`.
function environment.settings(lines)
  local own = environment.site()
  local text = own and read(own) or "return {}"
  return ("local site = (function()\n%s\nend)()\n%s\nreturn site\n"):format(text, lines)
end

-- Debian's redis-server is a link to redis-check-rdb, which tells by its name what it is to be; with
-- redis-tools alone the link is ours to make.
local function start_redis(place, name)
  local text = read(("%s/conf/redis-%s.conf"):format(config.root, name))
    :gsub("{{run}}", place.folder):gsub("{{data}}", place.folder .. "/" .. name)
  write(("%s/redis-%s.conf"):format(place.folder, name), text)
  local server = place.folder .. "/redis-server"
  os.execute(("mkdir -p %s/%s; [ -e %s ] || ln -s /usr/bin/redis-check-rdb %s"):format(place.folder, name, server, server))
  local socket = ("%s/redis-%s.sock"):format(place.folder, name)
  -- It ends with us, however we end.
  place.servers[#place.servers + 1] = task.spawn(function()
    return process.run { "setpriv", "--pdeathsig", "TERM", server, ("%s/redis-%s.conf"):format(place.folder, name),
      limit = DAY }
  end)
  return socket
end

local function open_admin(database)
  local admin = config.get("mariadb.admin_user")
  return db.open { name = "environment", user = admin, database = database,
    password = admin and config.get("mariadb.admin_password") }
end

--- Opens one; `name` is for people who look at it. The place has folder, database and site (its file), and
-- is to be closed.
function environment.open(name)
  local made = assert(process.run { "mktemp", "-d", "/tmp/footlight-test-XXXXXX" })
  local folder = made.output:gsub("%s+$", "")
  local place = setmetatable({ name = name, folder = folder, servers = {}, site = folder .. "/site.lua",
    -- Mails are files below the run-time folder, which is everybody's.
    mailbox = ("%s/tmp/mail-%s"):format(config.get "var", folder:match("%w+$")),
    database = "footlight_" .. folder:match("footlight%-test%-(%w+)$"):lower() .. "_test" }, Place)
  local ok, problem = pcall(function()
    assert(process.run { "mkdir", "-p", place.mailbox })
    local main, money = start_redis(place, "main"), start_redis(place, "money")
    write(place.site, environment.settings(([[
for _, key in ipairs { "redis", "mariadb", "mail" } do site[key] = site[key] or {} end
site.redis.main = { address = "unix:%s" }
site.redis.money = { address = "unix:%s" }
site.mariadb.database = "%s"
site.mail.mailbox = "%s"]]):format(main, money, place.database, place.mailbox)))
    testing.wait_for(function()
      local there = process.run { "test", "-S", main, "-a", "-S", money }
      return there and there.status == 0
    end, START_SECONDS, "the Redis servers of " .. name)
    local words = place:words("migrate")
    words.limit = MIGRATE_SECONDS
    local outcome = assert(process.run(words))
    if outcome.status ~= 0 then error(("%s: migrate: %s"):format(name, outcome.errors), 0) end
  end)
  if ok then return place end
  place:close()
  error(problem, 0)
end

--- The words of a command line in it, for process.run.
function Place:words(...)
  return { inside.program(), "--root", config.root, "--site", self.site, ... }
end

--- Ends the servers, drops the database, removes the folder.
function Place:close()
  if self.closed then return end
  self.closed = true
  for _, server in ipairs(self.servers) do server:cancel() end
  for _, server in ipairs(self.servers) do pcall(server.wait, server) end
  pcall(function()
    local server <close> = open_admin(false)
    migrations.drop_database(server, self.database)
  end)
  assert(process.run { "rm", "-rf", self.folder, self.mailbox })
end
Place.__close = Place.close

return environment
