-- Every operation against every other at once on one wallet: whatever the order that Redis makes of them,
-- the wallet and its outbox agree, and no credit appears or is lost.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local ledger = require "store.ledger"
local task = require "runtime.task"
local support = dofile(config.root .. "/tests/billing/support.lua")

local CREDIT, make_account = support.CREDIT, support.account

-- name → a function of (account, a fresh key, the key of a purchase, of a tip, of a hold)
local operations = {
  credit = function(a, key) return billing.credit { op = key, account = a, amount = 3 * CREDIT, type = "purchase" } end,
  bonus = function(a, key)
    return billing.credit { op = key, account = a, amount = CREDIT, bucket = "bonus", type = "promotion" }
  end,
  tip = function(a, key) return billing.tip { op = key, account = a, amount = 4 * CREDIT } end,
  refund = function(a, key, its) return billing.refund { op = key, account = a, original = its.tip } end,
  hold = function(a, key)
    return billing.hold { op = key, account = a, amount = 4 * CREDIT, seconds = 60 }
  end,
  capture = function(a, key, its)
    return billing.capture { op = key, account = a, original = its.hold, amount = CREDIT }
  end,
  release = function(a, _, its) return billing.release { op = its.hold, account = a } end,
  chargeback = function(a, key) return billing.chargeback { op = key, account = a, amount = 6 * CREDIT } end,
  freeze = function(a, key) return billing.freeze { op = key, account = a, frozen = true } end,
  meter = function(a, key)
    local opened = billing.open { sid = key, account = a, rate = 60 * CREDIT, minimum = CREDIT }
    if opened then billing.close(key, "done") end
  end,
}

local names = {}
for name in pairs(operations) do names[#names + 1] = name end
table.sort(names)

local function prepare()
  local account, its = make_account(), {}
  for _, name in ipairs { "buy", "tip", "hold" } do its[name] = "race:" .. crypto.random_token(9) end
  billing.credit { op = its.buy, account = account, amount = 9 * CREDIT, type = "purchase" }
  billing.tip { op = its.tip, account = account, amount = 2 * CREDIT }
  billing.hold { op = its.hold, account = account, amount = 2 * CREDIT, seconds = 60 }
  return account, its
end

describe("operations that race on one wallet", function()
  for _, first in ipairs(names) do
    it(first .. " with each other one, each sent twice, agree with the ledger", function()
      local accounts = {}
      for _, second in ipairs(names) do
        local account, its = prepare()
        accounts[#accounts + 1] = account
        local tasks = {}
        local one, two = "race:" .. crypto.random_token(9), "race:" .. crypto.random_token(9)
        for _, turn in ipairs { { first, one }, { second, two }, { first, one }, { second, two } } do
          -- A meter is one session of one process: its sid is not sent twice.
          local key = turn[1] == "meter" and "race:" .. crypto.random_token(9) or turn[2]
          tasks[#tasks + 1] = task.spawn(operations[turn[1]], account, key, its)
        end
        task.wait_all(tasks)
        billing.wallet(account) -- behind the closes of meters
      end
      support.flush()
      for i, account in ipairs(accounts) do
        local what = first .. " with " .. names[i]
        local wallet, booked = billing.wallet(account), ledger.wallet(account)
        assert.equal(wallet.seq, booked.seq, what)
        assert.equal(wallet.seq, booked.changes, what)
        assert.equal(wallet.paid + wallet.bonus + wallet.held, booked.paid + booked.bonus, what)
        assert.equal(wallet.debt, booked.debt, what)
        assert.is_true(wallet.paid >= 0 and wallet.bonus >= 0 and wallet.held >= 0, what)
      end
      assert.same({}, ledger.unbalanced(5))
    end)
  end
end)
