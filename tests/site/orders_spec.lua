-- What providers report, in every order that they may report it in.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local orders = require "site.orders"
local packs = require "store.packs"
local people = dofile(config.root .. "/tests/site/people.lua")
local store = require "store.orders"

local function new_order()
  local account = people.account()
  local order = store.create {
    account_id = account.id, pack = packs.by_name "starter", provider = "sandbox",
    idem_key = crypto.random_token(12),
  }
  return order, account
end

local function event(order, type, more)
  local made = { id = crypto.random_token(9), type = type, order = order.public_id,
    amount = order.price_minor, currency = order.currency }
  for key, value in pairs(more or {}) do made[key] = value end
  return made
end

local function state_of(order) return store.by_public_id(order.public_id).state end

describe("an order", function()
  it("is credited by one payment, however often it is reported", function()
    local order, account = new_order()
    local paid = event(order, "paid")
    assert.equal("applied", orders.apply("sandbox", paid))
    assert.equal("duplicate", orders.apply("sandbox", paid))
    assert.equal("ignored", orders.apply("sandbox", event(order, "paid")))
    assert.equal("credited", state_of(order))
    assert.equal(50000000, billing.wallet(account.id).paid)
  end)

  it("is credited by jobs if the request died between payment and wallet", function()
    local order, account = new_order()
    store.move(order.id, "created", "paid")
    require("jobs.orders").step(0)
    assert.equal("credited", state_of(order))
    orders.settle(order)
    assert.equal(50000000, billing.wallet(account.id).paid)
  end)

  it("is looked at by a person when amount or currency are wrong, or the payment comes late", function()
    for _, more in ipairs { { amount = 1 }, { amount = 600 }, { currency = "EUR" } } do
      local order, account = new_order()
      orders.apply("sandbox", event(order, "paid", more))
      assert.equal("review", state_of(order))
      assert.equal(0, billing.wallet(account.id).paid)
    end
    local order = new_order()
    orders.apply("sandbox", event(order, "expired"))
    orders.apply("sandbox", event(order, "paid"))
    assert.equal("review", state_of(order))
  end)

  it("does not go back: a failure after the payment changes nothing", function()
    local order = new_order()
    orders.apply("sandbox", event(order, "paid"))
    for _, type in ipairs { "failed", "cancelled", "expired", "pending" } do
      assert.equal("ignored", orders.apply("sandbox", event(order, type)))
    end
    assert.equal("credited", state_of(order))
  end)

  it("freezes its buyer's wallet while it is disputed", function()
    local order, account = new_order()
    orders.apply("sandbox", event(order, "paid"))
    orders.apply("sandbox", event(order, "disputed"))
    assert.is_true(billing.wallet(account.id).frozen)
    orders.apply("sandbox", event(order, "won"))
    assert.is_false(billing.wallet(account.id).frozen)
    assert.equal("credited", state_of(order))
  end)

  it("takes no events of another provider, nor events of orders that there are not", function()
    local order = new_order()
    assert.equal("unknown order", orders.apply("other", event(order, "paid")))
    assert.equal("unknown order", orders.apply("sandbox", event({ public_id = "none", price_minor = 1,
      currency = "USD" }, "paid")))
    assert.equal("created", state_of(order))
  end)

  it("parks what follows a payment when it comes before it", function()
    local order = new_order()
    assert.equal("parked", orders.apply("sandbox", event(order, "disputed")))
    assert.equal("created", state_of(order))
  end)
end)
