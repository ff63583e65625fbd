-- `footlight test` itself: what it counts, what it fails, and how it ends.
local config = require "runtime.config"
local file = require "runtime.file"
local inside = require "runtime.testing"
local process = require "runtime.process"

local folder = "tmp/runner-spec"

-- Runs the program on one spec with this text; its last line, exit code and whole output.
local function run(text, ...)
  local name = folder .. "/sample_spec.lua"
  assert(file.write(name, text))
  local result = assert(process.run { inside.program(), "--root", config.root, "--site",
    require("footlight.testing.environment").site() or "", "test", config.get("var") .. "/" .. name, ... })
  return result.output:match("([^\n]*)\n$"), result.status, result.output .. result.errors
end

describe("footlight test --jobs", function()
  local environment = require "footlight.testing.environment"
  local place = "tmp/jobs-spec"

  -- Two files that each find their stores empty, and wait for the other to have written.
  local meeting = [[
    local db, redis, config = require "runtime.db", require "runtime.redis", require "runtime.config"
    local task, testing = require "runtime.task", require "footlight.testing"
    it("%s has stores of its own", function()
      assert.is_nil(redis.call("GET", "jobs:mark"))
      redis.call("SET", "jobs:mark", "%s")
      local base = config.get("var") .. "/%s/"
      local name = db.one("SELECT DATABASE() AS name").name
      local mine <close> = assert(io.open(base .. "%s.txt", "w"))
      mine:write(name)
      mine:close()
      testing.wait_for(function() return io.open(base .. "%s.txt") end, 20, "the other file")
      local other <close> = assert(io.open(base .. "%s.txt"))
      assert.not_equal(name, other:read("a"))
      assert.equal("%s", redis.call("GET", "jobs:mark"))
      assert.is_truthy(db.one("SELECT COUNT(*) AS n FROM accounts"))
    end)]]
  local function meet(own, other)
    return meeting:format(own, own, place, own, other, other, own)
  end

  setup(function() assert(file.mkdir(place)) end)
  teardown(function()
    for _, name in ipairs(file.list(place)) do file.remove(place .. "/" .. name) end
    file.remove(place)
  end)

  it("runs files side by side in stores of their own, and counts all of them", function()
    assert(file.write(place .. "/a_spec.lua", meet("a", "b")))
    assert(file.write(place .. "/b_spec.lua", meet("b", "a")))
    assert(file.write(place .. "/c_spec.lua", 'it("fails", function() assert.equal(1, 2) end)'))
    assert(file.write(place .. "/d_spec.lua", 'it("dies", function() io.stderr:write("the end") os.exit(3) end)'))
    local result = assert(process.run { inside.program(), "--root", config.root, "--site", assert(environment.site()),
      "test", config.get("var") .. "/" .. place, "--jobs", "2", limit = 120 })
    assert.equal("2 passed, 2 failed, 0 skipped", result.output:match("([^\n]*)\n$"), result.output .. result.errors)
    assert.equal(1, result.status)
    assert.matches("c_spec.lua:1", result.output, 1, true)
    assert.matches("its process ended with status 3 and without a count", result.output, 1, true)
    assert.matches("the end", result.output, 1, true)
    local rows = require("runtime.db").rows("SELECT schema_name AS name FROM information_schema.schemata")
    local there = {}
    for _, row in ipairs(rows) do there[row.name] = true end
    for _, name in ipairs { "a.txt", "b.txt" } do
      assert.is_nil(there[assert(file.read(place .. "/" .. name))], "a job's database is still there")
    end
  end)

  it("runs them with our own stores if they are to be shared", function()
    local redis = require "runtime.redis"
    redis.call("SET", "jobs:ours", "yes")
    for _, name in ipairs { "a", "b" } do
      assert(file.write(("%s/%s_spec.lua"):format(place, name), [[
        it("finds ours", function() assert.equal("yes", require("runtime.redis").call("GET", "jobs:ours")) end)]]))
    end
    local base = config.get("var") .. "/" .. place
    local result = assert(process.run { inside.program(), "--root", config.root, "--site", assert(environment.site()),
      "test", base .. "/a_spec.lua", base .. "/b_spec.lua", "--jobs", "2", "--shared", limit = 60 })
    redis.call("DEL", "jobs:ours")
    assert.equal("2 passed, 0 failed, 0 skipped", result.output:match("([^\n]*)\n$"), result.output .. result.errors)
  end)

  it("says what is wrong with its options", function()
    local result = assert(process.run { inside.program(), "--root", config.root, "test", "--jobs", "0" })
    assert.equal(2, result.status)
    assert.matches("--jobs takes 1 to 64", result.errors, 1, true)
  end)
end)

describe("footlight test", function()
  setup(function() assert(file.mkdir(folder)) end)
  teardown(function() file.remove(folder .. "/sample_spec.lua") file.remove(folder) end)

  it("counts what passed, failed and was skipped", function()
    local last, status, output = run [[
      it("is right", function() end)
      it("is wrong", function() assert.equal(1, 2) end)
      it("raises", function() error({ code = 7 }) end)
      pending("is not there yet")]]
    assert.equal("1 passed, 2 failed, 1 skipped", last)
    assert.equal(1, status)
    assert.matches("sample_spec.lua:2: Expected objects to be equal", output)
  end)

  it("ends with 0 when nothing failed", function()
    local last, status = run [[it("is right", function() require("runtime.task").sleep(0.001) end)]]
    assert.equal("1 passed, 0 failed, 0 skipped", last)
    assert.equal(0, status)
  end)

  it("fails what hangs, in a wait and in a loop, and goes on", function()
    local last = run([[
      it("waits", function() require("runtime.task").sleep(60) end)
      it("loops", function() while true do pcall(error) end end)
      it("is right", function() end)]], "--limit", "1")
    assert.equal("1 passed, 2 failed, 0 skipped", last)
  end)

  it("fails what logs an error that was not announced", function()
    local last, _, output = run [[
      local log, testing = require "runtime.log", require "footlight.testing"
      it("is loud", function() log.error("spec.broken", { error = "why" }) end)
      it("announces it", function() testing.expect_log("spec.broken") log.error("spec.broken") end)]]
    assert.equal("1 passed, 1 failed, 0 skipped", last)
    assert.matches("spec.broken: why", output)
  end)

  it("tells with a failure what was logged meanwhile", function()
    local _, _, output = run [[
      local log = require "runtime.log"
      it("fails", function() log.error("spec.broken", { error = "the cause" }) error("the effect") end)]]
    assert.matches("the effect", output)
    assert.matches("logged meanwhile:%s+spec.broken: the cause", output)
  end)

  it("fails a file that leaves a task behind", function()
    local last, _, output = run [[
      local task = require "runtime.task"
      it("leaves one", function() task.spawn(function() task.sleep(60) end) end)]]
    assert.equal("1 passed, 1 failed, 0 skipped", last)
    assert.matches("leaves behind: 1 coroutines", output)
  end)

  it("fails a file that leaves a connection to MariaDB, a child, a request or a client's connection behind", function()
    for name, body in pairs {
      ["1 connections to MariaDB"] = [[kept = coroutine.wrap(function()
        require("runtime.db").session(function() coroutine.yield() end) end) kept()]],
      ["1 connections of clients"] = [[kept = require("runtime.request").connect("GET / HTTP/1.1\r\nHost: a\r\n\r\n")]],
      ["1 child processes"] = [[kept = require("runtime.task").spawn(function()
        require("runtime.process").run { "sleep", "5" } end)]],
    } do
      local last, _, output = run(("it('leaves it', function() %s end)"):format(body))
      assert.equal("1 passed, 1 failed, 0 skipped", last, output)
      assert.matches(name, output, 1, true)
    end
  end)

  it("fails what does not compile, and mistakes outside of tests", function()
    assert.equal("0 passed, 1 failed, 0 skipped", (run "local x = = 1"))
    assert.equal("0 passed, 1 failed, 0 skipped", (run [[
      describe("x", function()
        before_each(function() error("no") end)
        it("never runs", function() end)
      end)]]))
  end)

  it("lists and filters", function()
    local specs = [[
      describe("a", function() it("one", function() error("not run") end) end)
      it("two", function() end)]]
    local _, status, output = run(specs, "--list")
    assert.equal(0, status)
    assert.matches("a one\n.*two\n", output)
    assert.equal("1 passed, 0 failed, 0 skipped", (run(specs, "--filter", "^two")))
  end)

  it("refuses what it does not understand", function()
    local _, status = run("", "--bogus")
    assert.equal(2, status)
  end)
end)
