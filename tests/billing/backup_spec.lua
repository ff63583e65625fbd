-- A backup that is made while credits move, and the drill that starts it.
local backup = require "commands.backup"
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local flusher = require "jobs.ledger"
local ledger = require "store.ledger"
local process = require "runtime.process"
local restore = require "commands.restore"
local task = require "runtime.task"

local function quietly(run, words)
  local text = {}
  local sink = { write = function(_, ...)
    for _, part in ipairs { ... } do text[#text + 1] = tostring(part) end
  end }
  return run(words, { stdout = sink, stderr = sink }), table.concat(text)
end

describe("a backup", function()
  local folder

  it("made while credits move holds, with what was booked between its two halves", function()
    local name = "t" .. crypto.random_token(9):lower():gsub("[^a-z0-9]", "x")
    local account = (select(2, db.exec([[
      INSERT INTO accounts (name, state, role_id) SELECT ?, 'active', id FROM roles ORDER BY id LIMIT 1]], name)))
    folder = config.get "var" .. "/tmp/backup-" .. name
    billing.credit { op = "spec:first:" .. name, account = account, amount = 3, type = "purchase" }
    while flusher.flush() > 0 do task.sleep(0) end
    local going, moved = true, 0
    local mover = task.spawn(function()
      while going do
        moved = moved + 1
        billing.credit { op = ("spec:%s:%d"):format(name, moved), account = account, amount = 3, type = "purchase" }
        flusher.flush()
        task.sleep(0.01)
      end
    end)
    local code, text = quietly(backup.run, { folder })
    going = false
    task.wait_all { mover }
    assert.equal(0, code, text)
    assert.is_true(moved > 1)
    assert.equal(1, (quietly(backup.run, { folder }))) -- it is there
    code, text = quietly(restore.run, { folder, "--check" })
    assert.equal(0, code, text)
    assert.matches("the backup holds", text)
  end)

  it("of which something was lost is found out, also when its description was written anew", function()
    local code, text
    local function spoil(script) assert.equal(0, process.run({ "sh", "-c", script, "spec", folder }).status) end
    spoil 'echo "DELETE FROM ledger_entries ORDER BY id DESC LIMIT 1;" >> "$1/mariadb.sql"'
    code, text = quietly(restore.run, { folder, "--check" })
    assert.equal(1, code)
    assert.matches("does not hold: look at the files: mariadb.sql is not the file that was written", text)
    spoil [[old=$(sed -n 's/.*"mariadb":{[^}]*"sha256":"\([0-9a-f]*\)".*/\1/p' "$1/backup.json")
      new=$(sha256sum < "$1/mariadb.sql" | cut -c1-64); sed -i "s/$old/$new/" "$1/backup.json"]]
    code, text = quietly(restore.run, { folder, "--check" })
    assert.equal(1, code)
    assert.matches("the backup does not hold: billing reconcile", text)
    spoil 'rm -r "$1"'
    while flusher.flush() > 0 do task.sleep(0) end
    assert.is_false(ledger.backup_runs())
  end)
end)
