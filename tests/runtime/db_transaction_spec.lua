-- runtime.db: transactions.
local db = require "runtime.db"
local task = require "runtime.task"
local testing = require "footlight.testing"

local NAME = "test.transaction"

local function versions()
  return db.one("SELECT COUNT(*) AS count FROM settings WHERE name = ?", NAME).count
end

-- The ledger of settings is append-only for the runtime user: each test counts from where it found it.
local function add(tx, value)
  local next_version = tx.one("SELECT COALESCE(MAX(version), 0) + 1 AS v FROM settings WHERE name = ?", NAME).v
  return tx.exec("INSERT INTO settings (name, version, value) VALUES (?, ?, ?)", NAME, next_version, tostring(value))
end

describe("testing.rolled_back", function()
  it("leaves nothing of what a test wrote, and passes errors on", function()
    local before = versions()
    testing.rolled_back(function(tx)
      add(tx, 7)
      assert.equal(before + 1, tx.one("SELECT COUNT(*) AS count FROM settings WHERE name = ?", NAME).count)
    end)
    assert.equal(before, versions())
    local ok, problem = pcall(testing.rolled_back, function(tx)
      add(tx, 8)
      error("the test has failed", 0)
    end)
    assert.same({ false, "the test has failed" }, { ok, problem })
    assert.equal(before, versions())
  end)
end)

describe("db.transaction", function()
  it("commits and returns what the function returns", function()
    local before = versions()
    local a, b, c = db.transaction(function(tx)
      add(tx, 1)
      return 1, nil, "x"
    end)
    assert.same({ 1, nil, "x" }, { a, b, c })
    assert.equal(before + 1, versions())
  end)

  it("rolls back when the function raises, and raises the same", function()
    local before = versions()
    local thrown = { code = "mine" }
    local ok, reason = pcall(db.transaction, function(tx)
      add(tx, 1)
      error(thrown)
    end)
    assert.is_false(ok)
    assert.equal(thrown, reason)
    assert.equal(before, versions())
  end)

  it("is seen by nobody else before the commit", function()
    local before = versions()
    db.transaction(function(tx)
      add(tx, 1)
      assert.equal(before, versions())
    end)
  end)

  it("rolls back when the coroutine is cancelled in the middle", function()
    local before = versions()
    local inside = false
    local running = task.spawn(function()
      db.transaction(function(tx)
        add(tx, 1)
        inside = true
        tx.one("SELECT SLEEP(30) AS s")
      end)
    end)
    testing.wait_for(function() return inside end)
    running:cancel("enough")
    assert.is_false((pcall(running.wait, running)))
    assert.equal(before, versions())
    add(db, 1) -- the lock on the next version is gone
    assert.equal(before + 1, versions())
  end)

  it("does again what lost a deadlock, if it is asked to", function()
    local first = db.one("SELECT MIN(id) AS id FROM tags").id
    if not first then db.exec("INSERT INTO tags (name, label) VALUES ('deadlock-a', 'a'), ('deadlock-b', 'b')") end
    local ids = db.rows("SELECT id FROM tags ORDER BY id LIMIT 2")
    if #ids < 2 then
      db.exec("INSERT INTO tags (name, label) VALUES ('deadlock-c', 'c')")
      ids = db.rows("SELECT id FROM tags ORDER BY id LIMIT 2")
    end
    local attempts, arrived = 0, 0
    local function both(a, b)
      return task.spawn(function()
        local mine = 0
        db.transaction(function(tx)
          attempts, mine = attempts + 1, mine + 1
          tx.one("SELECT id FROM tags WHERE id = ? FOR UPDATE", a)
          if mine == 1 then
            arrived = arrived + 1
            testing.wait_for(function() return arrived == 2 end)
          end
          tx.one("SELECT id FROM tags WHERE id = ? FOR UPDATE", b)
        end, { retries = 3 })
        return true
      end)
    end
    local one, two = both(ids[1].id, ids[2].id), both(ids[2].id, ids[1].id)
    assert.is_true(one:wait())
    assert.is_true(two:wait())
    assert.equal(3, attempts)
  end)

  it("does what is to be done after the commit, and only then", function()
    local order = {}
    db.transaction(function(tx)
      tx.after_commit(function() order[#order + 1] = "after" end)
      order[#order + 1] = "inside"
    end)
    assert.same({ "inside", "after" }, order)
    pcall(db.transaction, function(tx)
      tx.after_commit(function() order[#order + 1] = "never" end)
      error("no")
    end)
    assert.equal(2, #order)
  end)

  it("ends: its handle cannot be used later", function()
    local kept
    db.transaction(function(tx) kept = tx end)
    assert.has_error(function() kept.one("SELECT 1 AS n") end)
  end)
end)
