-- Migrations, on a database of their own.
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local file = require "runtime.file"
local migrations = require "footlight.migrations"
local task = require "runtime.task"

describe("migrations", function()
  local name, folder, connection

  local function write(file_name, sql) assert(file.write(folder .. "/" .. file_name, sql)) end
  local function open(database)
    return db.open { user = config.get("mariadb.admin_user"), password = config.get("mariadb.admin_password"),
      database = database, name = "migrations" }
  end
  local function states()
    local list = {}
    for i, entry in ipairs(migrations.status(connection, folder)) do list[i] = entry.name .. " " .. entry.state end
    return list
  end

  before_each(function()
    name = "footlight_test_" .. crypto.hex(crypto.random_bytes(6))
    folder = file.temp(".migrations")
    assert(file.mkdir(folder))
    do
      local server <close> = open(false)
      migrations.create_database(server, name)
    end
    connection = open(name)
  end)

  after_each(function()
    connection.exec("DROP DATABASE `" .. name .. "`")
    connection.close()
    for _, entry in ipairs(file.list(folder)) do file.remove(folder .. "/" .. entry) end
    file.remove(folder)
  end)

  it("are carried out once, in order", function()
    write("0002_b.sql", "INSERT INTO a VALUES (2);")
    write("0001_a.sql", "CREATE TABLE a (n INT);\nINSERT INTO a VALUES (1);")
    assert.same({ "0001_a.sql pending", "0002_b.sql pending" }, states())
    assert.same({ "0001_a.sql", "0002_b.sql" }, migrations.run(connection, nil, folder))
    assert.same({}, migrations.run(connection, nil, folder))
    assert.same({ "0001_a.sql applied", "0002_b.sql applied" }, states())
    assert.same({ { n = 1 }, { n = 2 } }, connection.rows("SELECT n FROM a ORDER BY n"))
  end)

  it("refuse a file that was changed, is gone or comes too late", function()
    write("0002_a.sql", "CREATE TABLE a (n INT);")
    migrations.run(connection, nil, folder)
    write("0002_a.sql", "CREATE TABLE a (n BIGINT);")
    local ok, reason = pcall(migrations.run, connection, nil, folder)
    assert.is_false(ok)
    assert.matches("0002_a.sql was changed", reason)
    write("0002_a.sql", "CREATE TABLE a (n INT);")
    write("0001_early.sql", "CREATE TABLE b (n INT);")
    ok, reason = pcall(migrations.run, connection, nil, folder)
    assert.is_false(ok)
    assert.matches("0001_early.sql comes before", reason)
    file.remove(folder .. "/0001_early.sql")
    file.remove(folder .. "/0002_a.sql")
    write("0003_c.sql", "CREATE TABLE c (n INT);")
    ok, reason = pcall(migrations.run, connection, nil, folder)
    assert.is_false(ok)
    assert.matches("0002_a.sql was carried out but its file is gone", reason)
  end)

  it("go on where a statement failed, with what comes before it done once", function()
    write("0001_a.sql", "CREATE TABLE a (n INT);\nINSERT INTO a VALUES (1);\nINSERT INTO nowhere VALUES (1);")
    local ok, reason = pcall(migrations.run, connection, nil, folder)
    assert.is_false(ok)
    assert.matches("0001_a.sql, statement 3 of 3:", reason)
    assert.same({ "0001_a.sql half done" }, states())
    write("0001_a.sql", "CREATE TABLE a (n INT);\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES (3);")
    migrations.run(connection, nil, folder)
    assert.same({ { n = 1 }, { n = 3 } }, connection.rows("SELECT n FROM a ORDER BY n"))
  end)

  it("wait for one another", function()
    write("0001_a.sql", "CREATE TABLE a (n INT);\nDO SLEEP(0.3);\nINSERT INTO a VALUES (1);")
    local one = task.spawn(migrations.run, connection, nil, folder)
    local two = task.spawn(migrations.run, connection, nil, folder)
    assert.equal(1, #one:wait() + #two:wait())
    assert.equal(1, connection.one("SELECT COUNT(*) AS c FROM a").c)
  end)

  it("are split into statements at the semicolons that end one", function()
    local list = migrations.split([[
      -- a comment; with a semicolon
      SELECT 'a;''b', "c;\"d", `e;f`;
      # another; one
      SELECT 1 - 2 /*; no */ / 3;;
      x]])
    for i, text in ipairs(list) do list[i] = text:gsub("%s+", " ") end
    assert.same({ [[SELECT 'a;''b', "c;\"d", `e;f`]], "SELECT 1 - 2 / 3", "x" }, list)
  end)

  it("that this release has are all applied here", function()
    for _, entry in ipairs(migrations.status(db)) do assert.equal("applied", entry.state, entry.name) end
  end)
end)
