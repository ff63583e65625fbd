-- footlight wallet and footlight billing, as an operator runs them.
local billing = require "runtime.billing"
local command = require "commands.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local ledger = require "store.ledger"
local testing = require "footlight.testing"
local wallet_command = require "commands.wallet"
local support = dofile(config.root .. "/tests/billing/support.lua")

local make_account, flush = support.account, support.flush

-- Runs a command without letting its words reach the terminal.
local function quietly(run, words)
  local out, err = io.stdout, io.stderr
  local text = {}
  local sink = { write = function(_, ...)
    for _, part in ipairs { ... } do text[#text + 1] = tostring(part) end
  end }
  io.stdout, io.stderr = sink, sink
  local ok, code = pcall(run, words)
  io.stdout, io.stderr = out, err
  if not ok then error(code, 0) end
  return code, table.concat(text)
end

describe("the operator's commands", function()
  setup(function()
    -- A database of an earlier run may stand beside a new Redis.
    flush()
    assert.equal(0, (quietly(command.run, { "rebuild" })))
  end)

  it("credit a wallet once for one key, with a reason, and show it", function()
    local account, name = make_account()
    local key = "spec:" .. crypto.random_token(9)
    assert.equal(2, (quietly(wallet_command.run, { "credit", name, "5" })))
    assert.equal(2, (quietly(wallet_command.run, { "credit", name, "-5", "--reason", "x" })))
    assert.equal(3, (quietly(wallet_command.run, { "credit", "nobody-here", "5", "--reason", "x" })))
    for _ = 1, 2 do
      assert.equal(0, (quietly(wallet_command.run, { "credit", name, "2.5", "--reason", "goodwill", "--op", key })))
    end
    assert.equal(2500000, billing.wallet(account).paid)
    flush()
    local code, text = quietly(wallet_command.run, { "show", name })
    assert.equal(0, code)
    assert.matches("goodwill", text)
    assert.equal(1, (quietly(wallet_command.run, { "debit", name, "3", "--reason", "x" })))
    assert.equal(0, (quietly(wallet_command.run, { "debit", name, "2.5", "--reason", "x" })))
  end)

  it("reconcile finds no difference, then names what the ledger does not have", function()
    local account = make_account()
    billing.credit { op = "spec:" .. crypto.random_token(9), account = account, amount = 5, type = "purchase" }
    local code, text = quietly(command.run, { "reconcile", "--wait", "0" })
    assert.equal(1, code)
    assert.matches("account " .. account .. ": the ledger has come to change 0 of 1 only", text)
    flush()
    code, text = quietly(command.run, { "reconcile", "--wait", "5" })
    assert.equal(0, code, text)
  end)

  it("verify finds a booked line that was changed afterwards", function()
    local account, name = make_account()
    billing.credit { op = "spec:" .. crypto.random_token(9), account = account, amount = 5, type = "purchase" }
    flush()
    billing.credit { op = "spec:" .. crypto.random_token(9), account = account, amount = 6, type = "purchase" }
    flush()
    local code, text = quietly(command.run, { "verify" })
    assert.equal(0, code, text)
    -- The services may not: it takes the administrator.
    local admin <close> = db.open { user = config.get "mariadb.admin_user", password = "" }
    local function tamper(by)
      admin.exec("UPDATE ledger_txns SET wseq = wseq + ? WHERE account_id = ? AND wseq IN (1, 101)", by, account)
    end
    tamper(100)
    code, text = quietly(command.run, { "verify" })
    tamper(-100)
    assert.equal(1, code)
    assert.matches("was changed", text)
    code, text = quietly(command.run, { "statement", name })
    assert.equal(0, code)
    assert.matches("closing%s+0.000011", text)
    assert.equal(2, (quietly(command.run, { "statement", name, "--from", "yesterday" })))
  end)

  it("quarantine shows what was set aside, and lets a person decide so that both sides agree again", function()
    local account = make_account()
    local tip = "spec:" .. crypto.random_token(9)
    billing.credit { op = "spec:" .. crypto.random_token(9), account = account, amount = 9, type = "purchase" }
    billing.tip { op = tip, account = account, amount = 4, payee = 987654321 }
    testing.expect_log "ledger.quarantined"
    flush()
    local function entry_of(key)
      local row = db.one("SELECT id, solution FROM ledger_quarantine WHERE JSON_VALUE(entry, '$.op') = ?", key)
      return tostring(row.id), row.solution
    end
    local id = entry_of(tip)
    assert.equal(1, (quietly(command.run, { "reconcile", "--wait", "0" })))
    assert.matches(id .. "  .*account " .. account .. "  tip", select(2, quietly(command.run, { "quarantine" })))
    assert.equal(2, (quietly(command.run, { "quarantine", id })))
    assert.equal(2, (quietly(command.run, { "quarantine", id, "--book", "--reason", " " })))
    local code, text = quietly(command.run, { "quarantine", id, "--dismiss", "--reason", "x" })
    assert.equal(1, code)
    assert.matches("book it", text)
    assert.equal(0, (quietly(command.run, { "quarantine", id, "--book", "--reason", "the model was deleted" })))
    assert.equal("booked: the model was deleted", select(2, entry_of(tip)))
    code, text = quietly(command.run, { "reconcile", "--wait", "5" })
    assert.equal(0, code, text)
    assert.equal(5, ledger.wallet(account).paid)
    -- The same key at the same place with another amount: the ledger is right.
    local shard = billing.shard(account)
    local cursor = ledger.cursors()[shard]
    local contradiction = { op = tip, account = account, seq = 2, type = "tip", paid = -3, bonus = 0, debt = 0,
      at = 1700000000000, stream_ms = cursor.stream_ms, stream_n = cursor.stream_n + 1 }
    assert.equal(1, ledger.book(shard, cursor.epoch, { contradiction }).quarantined)
    id = tostring(db.one("SELECT MAX(id) AS id FROM ledger_quarantine").id)
    code, text = quietly(command.run, { "quarantine", id, "--book", "--reason", "x" })
    assert.equal(1, code)
    assert.matches("is booked", text)
    assert.equal(0, (quietly(command.run, { "quarantine", id, "--dismiss", "--reason", "a spec" })))
    assert.equal(1, (quietly(command.run, { "quarantine", id, "--dismiss", "--reason", "again" })))
    assert.matches("dismissed: a spec", select(2, quietly(command.run, { "quarantine", "--all" })))
    assert.equal(0, (quietly(command.run, { "verify" })))
    assert.equal(0, (quietly(command.run, { "reconcile", "--wait", "5" })))
    assert.same({}, ledger.unbalanced(5))
  end)

  it("rebuild brings back what Redis lost, and lets alone what it did not lose", function()
    local account = make_account()
    billing.credit { op = "spec:" .. crypto.random_token(9), account = account, amount = 5, type = "purchase" }
    flush()
    -- The ledger has one change more than Redis: this is what it looks like when Redis lost its last one.
    local shard = billing.shard(account)
    local cursor = ledger.cursors()[shard]
    assert.equal(1, ledger.book(shard, cursor.epoch, { {
      op = "spec:" .. crypto.random_token(9), account = account, seq = 2, type = "purchase", paid = 4, bonus = 0,
      debt = 0, at = 1700000000000, stream_ms = cursor.stream_ms, stream_n = cursor.stream_n + 1,
    } }).booked)
    local code, text = quietly(command.run, { "reconcile", "--wait", "0" })
    assert.equal(1, code)
    assert.matches("account " .. account .. ": Redis has forgotten", text)
    assert.equal(0, (quietly(command.run, { "rebuild" })))
    local wallet = billing.wallet(account)
    assert.same({ 9, 0, 0, 2 }, { wallet.paid, wallet.bonus, wallet.held, wallet.seq })
    assert.is_true(billing.restore { account = account, paid = 0, bonus = 0, debt = 0, seq = 2, frozen = false,
      epoch = 0 }.repeated)
    -- The next change is booked although the stream began anew.
    billing.credit { op = "spec:" .. crypto.random_token(9), account = account, amount = 1, type = "purchase" }
    flush()
    code, text = quietly(command.run, { "reconcile", "--wait", "5" })
    assert.equal(0, code, text)
  end)
end)
