-- Reading from a replica, and the limits of the pool, as the settings say: in a process with its own.
local config = require "runtime.config"
local environment = require "footlight.testing.environment"
local file = require "runtime.file"
local process = require "runtime.process"
local inside = require "runtime.testing"

describe("a process with these settings", function()
  local folder = "tmp/replica-spec"

  setup(function() assert(file.mkdir(folder)) end)
  teardown(function()
    for _, name in ipairs(file.list(folder)) do file.remove(folder .. "/" .. name) end
    file.remove(folder)
  end)

  -- Runs the body of a test in a process whose settings end with these lines.
  local function run(settings, body)
    local place = config.get("var") .. "/" .. folder
    assert(file.write(folder .. "/site.lua", environment.settings(settings)))
    assert(file.write(folder .. "/inner_spec.lua", ([[
      local db, task, testing = require "runtime.db", require "runtime.task", require "footlight.testing"
      it("is so", function() %s end)]]):format(body)))
    local result = assert(process.run { inside.program(), "--root", config.root, "--site", place .. "/site.lua",
      "test", place .. "/inner_spec.lua" })
    assert.equal(0, result.status, result.output .. result.errors)
  end

  -- The same server under another user, so that a statement tells where it ran.
  local replica = 'site.mariadb.replica = { socket = site.mariadb.socket, user = site.mariadb.admin_user, pool = 1 }'
  local who = [[
    local sql = "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AS name"
    local main, admin = "%s", "%s" ]]
  local function users() return who:format(config.get "mariadb.user", config.get "mariadb.admin_user") end

  it("reads from the replica what asks for it, and all else from the main server", function()
    run(replica, users() .. [[
      assert.equal(main, db.one(sql).name)
      assert.equal(admin, db.replica.one(sql).name)
      assert.equal(admin, db.replica.rows(sql)[1].name)
      for row in db.replica.each(sql) do assert.equal(admin, row.name) end
      assert.is_true(db.replica.ready())
      assert.is_nil(db.replica.exec)
      assert.is_nil(db.replica.transaction)
      local ok, problem = pcall(db.replica.one, "SELECT nothing")
      assert.equal("sql", not ok and problem.kind)]])
  end)

  it("reads from the main server while the replica is away", function()
    run('site.mariadb.replica = { host = "127.0.0.1", port = 1 }', users() .. [[
      testing.expect_log("mariadb")
      for _ = 1, 3 do
        assert.equal(main, db.replica.one(sql).name)
        for row in db.replica.each(sql) do assert.equal(main, row.name) end
      end
      assert.is_false(db.replica.ready())]])
  end)

  it("is the main server where no replica is named", function()
    run("", users() .. "assert.equal(main, db.replica.one(sql).name)")
  end)

  it("keeps the limits of the pool", function()
    run("site.mariadb.pool, site.mariadb.queue, site.mariadb.wait_ms, site.mariadb.query_ms = 1, 1, 100, 600", [[
      local kinds = {}
      local function slow() return task.spawn(function()
        local ok, problem = pcall(db.one, "SELECT SLEEP(0.3) AS s")
        kinds[#kinds + 1] = ok and "done" or problem.kind
      end) end
      local tasks = { slow(), slow(), slow() }
      for _, each in ipairs(tasks) do each:wait(5) end
      table.sort(kinds)
      assert.same({ "busy", "busy", "done" }, kinds)
      -- With the default of query_ms this one would come to its end.
      assert.is_false((pcall(db.one, "SELECT SLEEP(3) AS s")))]])
  end)
end)
