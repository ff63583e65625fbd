-- Providers: what is accepted from them, in which order, and what the wallet learns of it.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local gateway = require "site.payments.gateway"
local json = require "runtime.json"
local orders = require "site.orders"
local packs = require "store.packs"
local payments = require "store.payments"
local people = dofile(config.root .. "/tests/site/people.lua")
local process = require "runtime.process"
local refunds = require "site.refunds"
local store = require "store.orders"
local testing = require "footlight.testing"

local SECRET = "whsec_of_the_specs"

local function new_order(provider, pack)
  local account = people.account()
  return store.create { account_id = account.id, pack = packs.by_name(pack or "starter"),
    provider = provider or "sandbox", idem_key = crypto.random_token(12) }, account
end

local function event(order, type, more)
  local made = { id = crypto.random_token(9), type = type, order = order.public_id,
    amount = order.price_minor, currency = order.currency }
  for key, value in pairs(more or {}) do made[key] = value end
  return made
end

local function now(order) return store.by_public_id(order.public_id) end

local function signed(events)
  local outcome = assert(process.run { "/usr/bin/env", "node", config.root .. "/tests/billing/stripe_events.mjs",
    input = json.encode { secret = SECRET, now = os.time(), events = events } })
  assert.equal(0, outcome.status, outcome.errors)
  return json.decode(outcome.output)
end

local function deliver(item)
  return people.client():request("POST", "/pay/webhooks/stripe", {
    body = item.body, headers = { ["stripe-signature"] = item.header, ["content-type"] = "application/json" },
  })
end

local function stripe_event(type, object)
  return { id = "evt_" .. crypto.hex(crypto.random_bytes(8)), object = "event", type = type,
    data = { object = object } }
end

local function session(order, payment, status)
  return { id = "cs_1", object = "checkout.session", client_reference_id = order.public_id,
    payment_status = status or "paid", amount_total = order.price_minor, currency = "usd", payment_intent = payment }
end

describe("Stripe's events", function()
  it("signed by Stripe's own library are accepted, in any order and more than once", function()
    testing.with_settings({ ["payments.stripe.webhook_secrets"] = "whsec_before, " .. SECRET }, function()
      local order, account = new_order "stripe"
      local payment = "pi_" .. crypto.hex(crypto.random_bytes(8))
      local dispute = { id = "dp_" .. payment, object = "dispute", payment_intent = payment, amount = order.price_minor,
        currency = "usd", reason = "fraudulent", status = "needs_response",
        evidence_details = { due_by = os.time() + 86400 } }
      local over = { id = dispute.id, object = "dispute", payment_intent = payment, amount = order.price_minor,
        currency = "usd", status = "lost" }
      local all = signed {
        stripe_event("charge.dispute.closed", over), stripe_event("charge.dispute.created", dispute),
        stripe_event("checkout.session.completed", session(order, payment)),
        stripe_event("customer.created", { id = "cus_1" }),
      }.good
      local answers = {}
      for _, item in ipairs(all) do
        local page = deliver(item)
        assert.equal(200, page.status, page.body)
        answers[#answers + 1] = page:json().results[1]
      end
      assert.same({ "parked", "parked", "applied", "unknown order" }, answers)
      assert.equal("charged_back", now(order).state)
      assert.equal("lost", payments.latest_dispute(order.id).state)
      for _, item in ipairs(all) do assert.equal("duplicate", deliver(item):json().results[1]) end
      local wallet = billing.wallet(account.id)
      assert.same({ 0, 0, 0, true }, { wallet.paid, wallet.bonus, wallet.debt, wallet.frozen })
    end)
  end)

  it("that are forged or stale are refused, and nothing of them is kept", function()
    testing.with_settings({ ["payments.stripe.webhook_secrets"] = SECRET }, function()
      local order, account = new_order "stripe"
      local made = stripe_event("checkout.session.completed", session(order, "pi_forged"))
      local bad = signed({ made }).bad
      assert.is_true(#bad >= 12)
      for _, item in ipairs(bad) do assert.equal(400, deliver(item).status, item.name) end
      assert.equal("created", now(order).state)
      assert.equal(0, billing.wallet(account.id).paid)
      assert.is_nil(db.one("SELECT id FROM payment_events WHERE event_id = ?", made.id))
    end)
  end)

  it("are refused while no key is set", function()
    testing.with_settings({ ["payments.stripe.webhook_secrets"] = "" }, function()
      local order = new_order "stripe"
      local made = signed { stripe_event("checkout.session.completed", session(order, "pi_x")) }
      assert.equal(400, deliver(made.good[1]).status)
    end)
  end)

  it("of a payment that takes days leave the order pending until it has arrived", function()
    testing.with_settings({ ["payments.stripe.webhook_secrets"] = SECRET }, function()
      local order, account = new_order "stripe"
      local made = signed {
        stripe_event("checkout.session.completed", session(order, "pi_" .. order.id, "unpaid")),
        stripe_event("checkout.session.async_payment_succeeded", session(order, "pi_" .. order.id)),
        stripe_event("charge.refunded", { id = "ch_1", payment_intent = "pi_" .. order.id, currency = "usd",
          amount_refunded = order.price_minor }),
      }.good
      assert.equal("applied", deliver(made[1]):json().results[1])
      assert.equal("pending", now(order).state)
      deliver(made[2])
      assert.equal("credited", now(order).state)
      assert.equal(order.credits, billing.wallet(account.id).paid)
      deliver(made[3])
      assert.equal("refunded", now(order).state)
      assert.equal(0, billing.wallet(account.id).paid)
    end)
  end)
end)

describe("the gateway", function()
  local settings = { ["payments.gateway.key"] = ("k"):rep(32), ["payments.gateway.merchant"] = "m1",
    ["payments.gateway.url"] = "https://pay.example/start", ["payments.gateway.addresses"] = "2001:db8::/32" }

  local function post(fields, client)
    return (client or people.client()):request("POST", "/pay/webhooks/gateway", { form = fields })
  end
  local function postback(order, more)
    local fields = { id = "g" .. crypto.hex(crypto.random_bytes(8)), event = "sale", order = order.public_id,
      merchant = "m1", amount = tostring(order.price_minor), currency = order.currency, at = tostring(os.time()) }
    for key, value in pairs(more or {}) do fields[key] = value end
    fields.sig = gateway.sign(fields)
    return fields
  end

  it("gets a signed address, and credits what it reports with a signature", function()
    testing.with_settings(settings, function()
      local order, account = new_order "gateway"
      local url = gateway.begin(order, { url = "http://localhost" })
      assert.is_truthy(url:find("^https://pay%.example/start%?amount=599&"))
      assert.is_truthy(url:find("&sig=%x+"))
      local fields = postback(order)
      assert.equal("applied", post(fields):json().results[1])
      assert.equal("duplicate", post(fields):json().results[1])
      assert.equal(order.credits, billing.wallet(account.id).paid)
    end)
  end)

  it("is not believed when anything is wrong with a report", function()
    testing.with_settings(settings, function()
      local order, account = new_order "gateway"
      local cases = {
        { name = "no signature", change = function(f) f.sig = nil end },
        { name = "another amount", change = function(f) f.amount = "1" end },
        { name = "another order", change = function(f) f.order = "x" end },
        { name = "a field more", change = function(f) f.extra = "1" end },
        { name = "a field less", change = function(f) f.currency = nil end },
        { name = "a field twice", change = function(f) f.amount = { f.amount, "1" } end },
        { name = "cut short", change = function(f) f.sig = f.sig:sub(1, 20) end },
        { name = "old", fields = { at = tostring(os.time() - 7200) } },
        { name = "ahead", fields = { at = tostring(os.time() + 7200) } },
        { name = "another merchant", fields = { merchant = "m2" } },
        { name = "an unknown event", fields = { event = "gift" } },
        { name = "a line feed within", fields = { reason = "a\nb" } },
      }
      for _, case in ipairs(cases) do
        local fields = postback(order, case.fields)
        if case.change then case.change(fields) end
        assert.equal(400, post(fields).status, case.name)
      end
      local stranger = require("footlight.testing.client").new { remote = "203.0.113.7" }
      assert.equal(403, post(postback(order), stranger).status)
      assert.equal("created", now(order).state)
      assert.equal(0, billing.wallet(account.id).paid)
    end)
  end)

  it("knows its addresses by their networks", function()
    local contains = require("site.payments.addresses").contains
    local list = "192.0.2.0/25, 198.51.100.7, 2001:db8:1::/48"
    for _, address in ipairs { "192.0.2.1", "192.0.2.127", "198.51.100.7", "2001:db8:1:ffff::1",
      "::ffff:192.0.2.3" } do
      assert.is_true(contains(list, address), address)
    end
    for _, address in ipairs { "192.0.2.128", "198.51.100.8", "2001:db8:2::1", "", "nonsense", "1.2.3",
      "192.0.2.1.5", "2001:db8:1", ":::" } do
      assert.is_false(contains(list, address), address)
    end
    assert.is_false(contains("", "192.0.2.1"))
  end)
end)

describe("a provider that is not switched on", function()
  it("has no webhook, and neither has the sandbox", function()
    testing.with_settings({ ["payments.providers"] = "sandbox" }, function()
      for _, name in ipairs { "stripe", "gateway", "sandbox", "nonsense" } do
        assert.equal(404, people.client():request("POST", "/pay/webhooks/" .. name, { body = "{}" }).status)
      end
    end)
  end)
end)

describe("events before their turn", function()
  it("are replayed when it has come, in every order of a dispute's three", function()
    for _, list in ipairs { { "paid", "disputed", "lost" }, { "paid", "lost", "disputed" },
      { "disputed", "paid", "lost" }, { "disputed", "lost", "paid" }, { "lost", "paid", "disputed" },
      { "lost", "disputed", "paid" } } do
      local order, account = new_order()
      for _, type in ipairs(list) do orders.apply("sandbox", event(order, type)) end
      local what = table.concat(list, ", ")
      assert.equal("charged_back", now(order).state, what)
      assert.equal(0, billing.wallet(account.id).paid, what)
      assert.equal(0, #payments.parked(now(order)), what)
    end
  end)
end)

describe("a charge-back", function()
  it("takes what is left and books what was spent as a debt, which the next purchase repays", function()
    local order, account = new_order(nil, "regular")
    orders.apply("sandbox", event(order, "paid"))
    assert(billing.debit { op = "spend:" .. order.public_id, account = account.id, amount = 45000000 })
    orders.apply("sandbox", event(order, "disputed"))
    orders.apply("sandbox", event(order, "lost"))
    local wallet = billing.wallet(account.id)
    assert.same({ 0, 0, 40000000, true }, { wallet.paid, wallet.bonus, wallet.debt, wallet.frozen })
  end)

  it("keeps a wallet frozen when another dispute is won meanwhile", function()
    local order, account = new_order()
    local second = store.create { account_id = account.id, pack = packs.by_name "starter", provider = "sandbox",
      idem_key = crypto.random_token(12) }
    for _, each in ipairs { order, second } do
      orders.apply("sandbox", event(each, "paid"))
      orders.apply("sandbox", event(each, "disputed"))
    end
    orders.apply("sandbox", event(order, "won"))
    assert.is_true(billing.wallet(account.id).frozen)
    orders.apply("sandbox", event(second, "won"))
    assert.is_false(billing.wallet(account.id).frozen)
  end)
end)

describe("a refund", function()
  local function ask(order, amount, key)
    local staff = people.account { role = "admin" }
    local row, reason = db.transaction(function(tx)
      return refunds.request({ order = order.public_id, amount = amount, key = key or crypto.random_token(9),
        reason = "a test", actor = staff.id }, tx)
    end)
    if row then refunds.step(row.id) end
    return row and payments.refund(row.id), reason
  end

  it("in parts takes exactly all credits of the order, and no more", function()
    local order, account = new_order(nil, "regular")
    orders.apply("sandbox", event(order, "paid"))
    for _, amount in ipairs { 333, 333, 432 } do assert.equal("done", ask(order, amount).state) end
    assert.equal("credited", now(order).state)
    assert.same({ nil, "too_much" }, { ask(order, 2) })
    assert.equal("done", ask(order, 1).state)
    assert.equal("refunded", now(order).state)
    local wallet = billing.wallet(account.id)
    assert.same({ 0, 0, 0, false }, { wallet.paid, wallet.bonus, wallet.debt, wallet.frozen })
  end)

  it("counts once for a key, and refuses the key for another amount", function()
    local order, account = new_order()
    orders.apply("sandbox", event(order, "paid"))
    local row = ask(order, 100, "the-same-key")
    assert.equal(row.id, ask(order, 100, "the-same-key").id)
    assert.equal(order.credits - row.credits, billing.wallet(account.id).paid)
    assert.same({ nil, "other_content" }, { ask(order, 200, "the-same-key") })
  end)

  it("is refused when the credits are spent, and changes nothing", function()
    local order, account = new_order()
    orders.apply("sandbox", event(order, "paid"))
    assert(billing.debit { op = "spend:" .. order.public_id, account = account.id, amount = 1 })
    assert.equal("refused", ask(order, order.price_minor).state)
    assert.equal("credited", now(order).state)
    assert.equal(order.credits - 1, billing.wallet(account.id).paid)
  end)

  it("under way keeps a dispute waiting: it opens when the refund is refused, and not after it was done", function()
    for _, answer in ipairs { "refused", "done" } do
      local order, account = new_order("stripe", "starter")
      orders.apply("stripe", event(order, "paid", { payment = "pi_r" .. order.id }))
      local row = refunds.request { order = order.public_id, amount = order.price_minor, key = "k-" .. order.id,
        reason = "spec", actor = people.account { role = "admin" }.id }
      assert.equal("refund_pending", now(order).state)
      assert.equal("parked", orders.apply("stripe", event(order, "disputed", { dispute = "dp_" .. order.id })))
      payments.move_refund(row.id, "requested", "taken", nil)
      payments.move_refund(row.id, "taken", "sent", nil)
      local adapter = require "site.payments.stripe"
      local refund = adapter.refund
      adapter.refund = function() return answer, answer == "done" and "re_1" or "spec" end
      refunds.step(row.id)
      adapter.refund = refund
      orders.replay(order.public_id)
      assert.equal(answer == "done" and "refunded" or "disputed", now(order).state)
      assert.equal(answer == "refused", billing.wallet(account.id).frozen)
    end
  end)

  it("is never given on a disputed charge", function()
    local order = new_order()
    orders.apply("sandbox", event(order, "paid"))
    orders.apply("sandbox", event(order, "disputed"))
    assert.same({ nil, "not_credited" }, { ask(order, 100) })
  end)

  it("that the provider gave of spent credits leaves a debt", function()
    local order, account = new_order()
    orders.apply("sandbox", event(order, "paid"))
    assert(billing.debit { op = "spend:" .. order.public_id, account = account.id, amount = 10000000 })
    orders.apply("sandbox", event(order, "refunded", { total = order.price_minor }))
    assert.equal("refunded", now(order).state)
    local wallet = billing.wallet(account.id)
    assert.same({ 0, 10000000, true }, { wallet.paid, wallet.debt, wallet.frozen })
  end)

  it("of Stripe waits while nobody knows, and gives the credits back when it is refused", function()
    local order, account = new_order "stripe"
    orders.apply("stripe", event(order, "paid", { payment = "pi_" .. order.id }))
    -- Nobody listens there.
    testing.with_settings({ ["payments.stripe.base"] = "http://127.0.0.1:9", ["payments.stripe.key"] = "sk" },
      function()
        assert.equal("sent", ask(order, 100).state)
        assert.is_true(billing.wallet(account.id).paid < order.credits)
      end)
    orders.apply("stripe", event(order, "refunded", { total = 100 }))
    assert.equal("done", payments.refunds_of(order.id)[1].state)
  end)
end)

describe("all of this", function()
  it("sums to zero in the ledger", function()
    require("jobs.ledger").flush()
    local ledger = require "store.ledger"
    assert.same({}, ledger.unbalanced(10))
    assert.same({}, ledger.wrong_balances(10))
    assert.same({}, ledger.quarantined(10))
  end)
end)
