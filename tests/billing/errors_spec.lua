-- Bad input: every operation gives it a name, and nothing changes.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local people = dofile(config.root .. "/tests/site/people.lua")

local function op(name) return "spec:" .. crypto.random_token(9) .. ":" .. name end

local account, model, bought, sold, held
local good = {
  credit = function() return { op = op "x", account = account, amount = 1, type = "purchase" } end,
  tip = function() return { op = op "x", account = account, amount = 1, payee = model } end,
  debit = function() return { op = op "x", account = account, amount = 1, payee = model, type = "gift" } end,
  hold = function() return { op = op "x", account = account, amount = 1, payee = model, seconds = 10 } end,
  capture = function() return { op = op "x", account = account, amount = 1, original = held } end,
  refund = function() return { op = op "x", account = account, amount = 1, original = sold } end,
  reverse = function() return { op = op "x", account = account, original = bought, actor = "command" } end,
  chargeback = function() return { op = op "x", account = account, amount = 1 } end,
  adjust = function() return { op = op "x", account = account, amount = 1, reason = "spec", actor = "command" } end,
  freeze = function() return { op = op "x", account = account, frozen = false } end,
  grant = function() return { op = op "x", account = account, seconds = 10, payee = model } end,
  limit = function() return { op = op "x", account = account, whose = "own", seconds = 10 } end,
}

-- field → bad values → the word.
local bad = {
  amount = { [0] = "BADAMOUNT", [-1] = "BADAMOUNT", [1.5] = "BADAMOUNT", [math.maxinteger] = "BADAMOUNT",
    [9007199254740992] = "BADAMOUNT", ["1"] = "BADAMOUNT", [math.huge] = "BADAMOUNT" },
  account = { [0] = "BADACCOUNT", [-7] = "BADACCOUNT", [1.5] = "BADACCOUNT", ["7"] = "BADACCOUNT" },
  op = { [""] = "BADKEY", ["a b"] = "BADKEY", ["}{"] = "BADKEY", [("k"):rep(121)] = "BADKEY", [7] = "BADKEY" },
  payee = { [-1] = "BADPAYEE", [0.5] = "BADPAYEE" },
  seconds = { [-1] = true, [0.5] = "BADTIME", [10000000] = true }, -- BADTIME, of grants BADAMOUNT
  type = { ["Tip"] = "BADTYPE", [""] = "BADTYPE", [("t"):rep(31)] = "BADTYPE" },
  bucket = { gold = "BADBUCKET" },
  reason = { [("r"):rep(401)] = "BADREASON" },
  actor = { [("a"):rep(61)] = "BADACTOR" },
  original = { ["a b"] = "BADKEY", [7] = "BADKEY" },
  currency = { EUR = "BADCURRENCY", [7] = "BADCURRENCY", crd = "BADCURRENCY" },
}
-- What an operation does not have, or where a value is good.
local without = {
  bucket = { credit = true, adjust = true }, payee = { tip = true, debit = true, hold = true, grant = true },
  type = { credit = true, tip = true, debit = true, hold = true },
  -- Of a refund 0 is all that is left; an adjustment has a sign.
  amount = { credit = true, tip = true, debit = true, hold = true, capture = true, chargeback = true, refund = true,
    adjust = true },
  seconds = { hold = true, grant = true, limit = true },
  original = { capture = true, refund = true, reverse = true },
  reason = { credit = true, tip = true, debit = true, capture = true, refund = true, reverse = true, chargeback = true,
    adjust = true, freeze = true, grant = true, limit = true },
}
without.actor = without.reason
local fine = { refund = { amount = { [0] = true } }, adjust = { amount = { [-1] = true } } }

describe("bad input", function()
  before_each(function()
    account, model = people.account().id, people.model().id
    bought, sold, held = op "buy", op "tip", op "hold"
    billing.credit { op = bought, account = account, amount = 100, type = "purchase" }
    billing.tip { op = sold, account = account, amount = 10, payee = model }
    billing.hold { op = held, account = account, amount = 10, payee = model, seconds = 60 }
  end)

  it("of every operation gets a name and changes nothing", function()
    local tried = 0
    local before = billing.wallet(account)
    for name, make in pairs(good) do
      for field, values in pairs(bad) do
        if not without[field] or without[field][name] then
          for value, word in pairs(values) do
            if not (fine[name] and fine[name][field] and fine[name][field][value]) then
              local asked = make()
              asked[field] = value
              local ok, answer, reason = pcall(billing[name], asked)
              local told = ("%s with %s = %s: %s %s"):format(name, field, tostring(value), tostring(answer), tostring(reason))
              assert.is_false(ok, told)
              local wanted = word == true and "BAD%u+" or word
              assert.is_truthy(tostring(answer):find("billing: " .. wanted), told)
              tried = tried + 1
            end
          end
        end
      end
    end
    assert.is_true(tried > 150, tried .. " tries")
    assert.same(before, billing.wallet(account))
  end)

  it("that is a key used for something else is a duplicate for every operation", function()
    for name, make in pairs(good) do
      -- Whatever the one before has done: there is something to be taken, given back and captured.
      billing.freeze { op = op "thaw", account = account, frozen = false }
      bought, held = op "buy", op "hold"
      billing.credit { op = bought, account = account, amount = 100, type = "purchase" }
      billing.hold { op = held, account = account, amount = 10, payee = model, seconds = 60 }
      local first = make()
      first.op = op "once"
      local wallet, reason = billing[name](first)
      assert.is_table(wallet, name .. ": " .. tostring(reason))
      local before = billing.wallet(account)
      local again = { op = first.op, account = account, amount = 7, payee = model }
      local ok, answer, why = pcall(name == "credit" and billing.tip or billing.credit, again)
      assert.is_true(not ok and tostring(answer):find("DUPLICATE", 1, true) ~= nil or why == "duplicate", name)
      assert.same(before, billing.wallet(account))
    end
  end)
end)
