-- Run by losing_redis_spec.lua in a place of its own: here the money Redis may be emptied.
local billing = require "runtime.billing"
local command = require "commands.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local flusher = require "jobs.ledger"
local ledger = require "store.ledger"
local orders = require "site.orders"
local people = dofile(config.root .. "/tests/site/people.lua")
local process = require "runtime.process"
local refunds = require "store.ledger_refunds"
local store = require "store.orders"
local task = require "runtime.task"
local testing = require "footlight.testing"

local CREDIT = 1000000

local function run(...)
  local text = {}
  local sink = { write = function(_, ...)
    for _, part in ipairs { ... } do text[#text + 1] = tostring(part) end
  end }
  return command.run({ ... }, { stdout = sink, stderr = sink }), table.concat(text)
end

local function op(name) return "spec:" .. crypto.random_token(9) .. ":" .. name end

-- Everything is gone, the functions, too, as with a new disk. Connections end, as they would.
local function lose_redis()
  local socket = config.get("redis.money.address"):match "^unix:(.+)$"
  local outcome = process.run { "sh", "-c", [[
    for words in FLUSHALL 'FUNCTION FLUSH' 'CLIENT KILL TYPE normal SKIPME yes'; do
      redis-cli -s "$1" $words > /dev/null || exit 1
    done]], "spec", socket }
  assert.equal(0, outcome.status, outcome.errors)
  testing.wait_for(function() return (pcall(billing.wallet, 1)) end, 10, "billing to find Redis again")
end

describe("after losing Redis altogether", function()
  it("rebuild makes every wallet again, and no key counts twice", function()
    local model = people.model()
    local accounts, before = {}, {}
    for i = 1, 30 do
      local account = people.account()
      accounts[i] = account
      local keys = { buy = op "buy", gift = op "gift", tip = op "tip", back = op "back", debt = op "debt",
        staff = op "staff", wrong = op "wrong", undo = op "undo" }
      account.keys = keys
      billing.credit { op = keys.buy, account = account.id, amount = (20 + i) * CREDIT + i, type = "purchase" }
      billing.credit { op = keys.gift, account = account.id, amount = 3 * CREDIT, bucket = "bonus", type = "promotion" }
      billing.tip { op = keys.tip, account = account.id, amount = 7 * CREDIT, payee = model.id }
      billing.refund { op = keys.back, account = account.id, original = keys.tip, amount = 2 * CREDIT }
      billing.adjust { op = keys.staff, account = account.id, amount = -1, reason = "spec", actor = "command" }
      billing.credit { op = keys.wrong, account = account.id, amount = 5, type = "purchase" }
      billing.reverse { op = keys.undo, account = account.id, original = keys.wrong, actor = "command" }
      if i % 3 == 0 then
        billing.chargeback { op = keys.debt, account = account.id, amount = 100 * CREDIT, reason = "spec" }
      end
      if i % 5 == 0 then billing.limit { op = op "limit", account = account.id, whose = "own", seconds = 3600 } end
      local hold = op "hold"
      if i % 3 ~= 0 then billing.hold { op = hold, account = account.id, amount = CREDIT, seconds = 60 } end
      before[account.id] = billing.wallet(account.id)
    end
    while flusher.flush() > 0 do task.sleep(0) end
    lose_redis()
    assert.equal(1, (run("reconcile", "--wait", "0")))
    local code, text = run "rebuild"
    assert.equal(0, code, text)
    for _, account in ipairs(accounts) do
      local now, was, keys = billing.wallet(account.id), before[account.id], account.keys
      -- What was reserved is nobody's any more.
      assert.same({ was.paid + was.bonus + was.held, was.debt, was.frozen },
        { now.paid + now.bonus + now.held, now.debt, now.frozen })
      local function again(name, values)
        values.op, values.account = keys[values.key], account.id
        values.key = nil
        local wallet, reason = billing[name](values)
        assert.is_table(wallet, reason)
        assert.is_true(wallet.repeated)
      end
      again("credit", { key = "gift", amount = 3 * CREDIT, bucket = "bonus", type = "promotion" })
      again("tip", { key = "tip", amount = 7 * CREDIT, payee = model.id })
      again("refund", { key = "back", original = keys.tip, amount = 2 * CREDIT })
      again("adjust", { key = "staff", amount = -1, reason = "spec", actor = "command" })
      again("reverse", { key = "undo", original = keys.wrong, actor = "command" })
      if was.debt > 0 then again("chargeback", { key = "debt", amount = 100 * CREDIT, reason = "spec" }) end
      -- The same key with other content is no repeat.
      assert.is_false((pcall(billing.credit, { op = keys.buy, account = account.id, amount = 1, type = "purchase" })))
      assert.same({ nil, "duplicate" },
        { billing.tip { op = keys.tip, account = account.id, amount = 6 * CREDIT, payee = model.id } })
      assert.same({ now.paid, now.bonus, now.seq }, (function()
        local last = billing.wallet(account.id)
        return { last.paid, last.bonus, last.seq }
      end)())
    end
    -- A sale of before can be refunded, as far as it was not.
    local buyer = accounts[1]
    assert.same({ nil, "too_much" }, { refunds.refund { op = op "more", account = buyer.id,
      original = buyer.keys.tip, amount = 6 * CREDIT } })
    assert.is_table(refunds.refund { op = op "rest", account = buyer.id, original = buyer.keys.tip })
    assert.equal(3600, billing.allowance(accounts[5].id).own_limit)
    while flusher.flush() > 0 do task.sleep(0) end
    code, text = run("reconcile", "--wait", "10")
    assert.equal(0, code, text)
    -- A second one changes nothing.
    assert.matches("^0 wallets", select(2, run "rebuild"))
  end)

  it("an order that was credited but not marked so is credited once", function()
    local account = people.account()
    local order = store.create { account_id = account.id, pack = require("store.packs").by_name "starter",
      provider = "sandbox", idem_key = op "order" }
    store.move(order.id, "created", "paid")
    -- As settle does it, but for its last step: the process died before that.
    billing.credit { op = "order:" .. order.public_id, account = account.id, amount = order.credits,
      bucket = "paid", type = "purchase", actor = "system" }
    while flusher.flush() > 0 do task.sleep(0) end
    lose_redis()
    assert.equal(0, (run "rebuild"))
    orders.settle(store.by_public_id(order.public_id))
    assert.equal("credited", store.by_public_id(order.public_id).state)
    assert.equal(order.credits, billing.wallet(account.id).paid)
    while flusher.flush() > 0 do task.sleep(0) end
    assert.same({}, ledger.quarantined(5))
    local code, text = run("reconcile", "--wait", "10")
    assert.equal(0, code, text)
  end)
end)
