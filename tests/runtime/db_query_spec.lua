-- runtime.db: values, errors, limits.
local db = require "runtime.db"
local task = require "runtime.task"

describe("runtime.db", function()
  it("binds what it is given and never reads it as SQL", function()
    local evil = "'; DROP TABLE accounts; -- \\ \" %"
    local row = db.one("SELECT ? AS text, ? AS number, ? AS yes, ? AS nothing, ? AS half", evil, math.mininteger,
      true, db.null, 0.5)
    assert.equal(evil, row.text)
    assert.equal(math.mininteger, row.number)
    assert.equal("integer", math.type(row.number))
    assert.equal(1, row.yes)
    assert.is_nil(row.nothing)
    assert.equal(0.5, row.half)
  end)

  it("takes nil, db.null and a missing last value for NULL", function()
    local row = db.one("SELECT ? IS NULL AS a, ? IS NULL AS b, ? IS NULL AS c", nil, db.null, nil)
    assert.same({ a = 1, b = 1, c = 1 }, row)
  end)

  it("gives decimals and times as text, big integers whole", function()
    local row = db.one([[SELECT CAST('12345678901234567.89' AS DECIMAL(25,2)) AS money,
      CAST('2026-11-24 10:00:00.123456' AS DATETIME(6)) AS at, 9223372036854775807 AS big,
      CAST(18446744073709551615 AS UNSIGNED) AS huge]])
    assert.same({ money = "12345678901234567.89", at = "2026-11-24 10:00:00.123456",
      big = math.maxinteger, huge = "18446744073709551615" }, row)
  end)

  it("gives no row as nil, and refuses two where one is asked for", function()
    assert.is_nil(db.one("SELECT 1 AS one WHERE FALSE"))
    assert.has_error(function() db.one("SELECT 1 AS n UNION ALL SELECT 2") end)
    assert.equal(3, #db.rows("SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3"))
    assert.same({}, db.rows("SELECT 1 AS n WHERE FALSE"))
  end)

  it("raises errors that tell what they are", function()
    local ok, reason = pcall(db.rows, "SELECT no_such_column FROM roles")
    assert.is_false(ok)
    assert.equal("sql", reason.kind)
    assert.equal(1054, reason.code)
    assert.equal("42S22", reason.sqlstate)
    assert.matches("no_such_column", tostring(reason))
    ok, reason = pcall(db.exec, "INSERT INTO roles (id, name) VALUES (1, 'again')")
    assert.is_false(ok)
    assert.is_true(reason.duplicate)
    assert.is_false(reason.retryable)
  end)

  it("names the value that cannot be bound", function()
    local ok, reason = pcall(db.one, "SELECT ?, ?", 1, {})
    assert.is_false(ok)
    assert.matches("value 2 of the statement is a table", reason)
  end)

  it("runs many at once on a bounded pool", function()
    local tasks = {}
    for i = 1, 60 do
      tasks[i] = task.spawn(function() return db.one("SELECT ? AS n", i).n end)
    end
    local sum = 0
    for i = 1, 60 do sum = sum + tasks[i]:wait() end
    assert.equal(60 * 61 // 2, sum)
  end)

  it("is cut off by the deadline of whoever asks, and the connection serves the next", function()
    local ok, reason = pcall(task.deadline, 0.1, function() return db.one("SELECT SLEEP(30) AS s") end)
    assert.is_false(ok)
    assert.is_not_nil(reason)
    for i = 1, 20 do assert.equal(i, db.one("SELECT ? AS n", i).n) end
  end)

  it("goes through any number of rows in little memory", function()
    local sql = [[
      WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < ?)
      SELECT i, REPEAT('x', 100) AS filler FROM n]]
    local count, last = 0, 0
    for row in db.each(sql, 1000) do
      assert.equal(last + 1, row.i)
      assert.equal(100, #row.filler)
      count, last = count + 1, row.i
      if count % 300 == 0 then assert.equal(1, db.one("SELECT 1 AS n").n) end -- others work meanwhile
    end
    assert.equal(1000, count)
    for _ in db.each(sql, 1) do count = count + 1 end
    for _ in db.each("SELECT 1 AS n WHERE FALSE") do count = count + 1 end
    assert.equal(1001, count)
    for row in db.each(sql, 1000) do
      if row.i == 450 then break end -- the rest is not read
    end
    local ok, reason = pcall(function()
      for _ in db.each("SELECT no_such_column FROM roles") do count = count + 1 end
    end)
    assert.is_false(ok)
    assert.equal(1054, reason.code)
    for i = 1, 30 do assert.equal(i, db.one("SELECT ? AS n", i).n) end
  end)

  it("may be called with a colon as well", function()
    assert.equal(1, db:one("SELECT 1 AS n").n)
  end)
end)
