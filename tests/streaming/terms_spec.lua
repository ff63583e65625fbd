-- What a ticket says besides the rate reaches the meter.
local billing = require "runtime.billing"
local config = require "runtime.config"
local support = dofile(config.root .. "/tests/streaming/support.lua")
local task = require "runtime.task"
local testing = require "footlight.testing"

local CREDIT = support.CREDIT
local WATCHED = 5

-- What viewers with these terms pay, who watch for WATCHED seconds together. In credits.
local function prices(model, all)
  local accounts, tasks, paid = {}, {}, {}
  for i, terms in ipairs(all) do
    accounts[i] = support.viewer(200)
    terms.account, terms.rate = accounts[i], 60 * CREDIT
    tasks[i] = task.spawn(support.flv, support.ticket(model, terms), WATCHED)
  end
  task.wait_all(tasks)
  for i, account in ipairs(accounts) do
    testing.wait_for(function() return billing.wallet(account).held == 0 end, 20, "the meter's close")
    local wallet = billing.wallet(account)
    paid[i] = 200 - (wallet.paid + wallet.bonus) / CREDIT
  end
  return paid
end

describe("a session's terms", function()
  it("are free seconds, a minimum, an increment and a part off", function()
    local model = support.model(60 * CREDIT)
    local publisher <close> = support.publish(model)
    assert.is_table(publisher)
    local paid = prices(model, { { free = 300 }, { minimum = 20 * CREDIT }, { increment = 60 }, { off = 7500 },
      { free = 300, minimum = 20 * CREDIT } })
    assert.same({ 0, 20, 60 }, { paid[1], paid[2], paid[3] })
    assert.is_true(paid[4] > 0 and paid[4] <= (WATCHED + 2) / 4, ("a quarter of %d is not %g"):format(WATCHED, paid[4]))
    assert.equal(0, paid[5]) -- the minimum is of what is charged at all
  end)
end)
