-- What the error page of developers knows of the statements that a request made.
local db = require "runtime.db"
local queries = require "footlight.queries"
local task = require "runtime.task"

local function statements(list)
  local texts = {}
  for i, query in ipairs(list) do texts[i] = query.sql end
  return texts
end

describe("the statements of a request", function()
  it("are noted in order, inside of transactions too, and without their parameters", function()
    local req = {}
    queries.watch(req)
    assert.equal(3, db.one("SELECT 1 +\n  ? AS sum", 2).sum)
    db.transaction(function(tx) tx.exec("SET @noted = ?", "secret words") end)
    assert.same({ "SELECT 1 + ? AS sum", "SET @noted = ?" }, statements(req.queries))
  end)

  it("are those of its own coroutine", function()
    local mine, other = {}, {}
    queries.watch(mine)
    task.spawn(function()
      queries.watch(other)
      db.one "SELECT 2 AS two"
    end):wait()
    db.one "SELECT 1 AS one"
    assert.same({ "SELECT 1 AS one" }, statements(mine.queries))
    assert.same({ "SELECT 2 AS two" }, statements(other.queries))
  end)

  it("end somewhere", function()
    local req = {}
    queries.watch(req)
    for _ = 1, 150 do db.one "SELECT 1 AS one" end
    assert.equal(101, #req.queries)
  end)
end)
