-- The books of payment providers against our orders.
local billing = require "runtime.billing"
local command = require "commands.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local gateway = require "site.payments.gateway"
local job = require "jobs.reconcile"
local json = require "runtime.json"
local orders = require "site.orders"
local packs = require "store.packs"
local people = dofile(config.root .. "/tests/site/people.lua")
local process = require "runtime.process"
local reconcile = require "site.payments.reconcile"
local store = require "store.orders"
local stripe = require "site.payments.stripe"
local task = require "runtime.task"
local testing = require "footlight.testing"

-- Answers GETs, one after the other, and writes down what was asked, one line each.
local server_code = [[
import http.server, json, os, sys
place, answers = sys.argv[1], json.loads(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(place + ".asked", "a") as out: out.write(self.path + "\n")
        status, body, headers = answers.pop(0)
        data = body.encode()
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header("Content-Length", str(len(data))); self.end_headers()
        self.wfile.write(data)
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
server.timeout = 15
with open(place + ".new", "w") as out: out.write(str(server.server_port))
os.rename(place + ".new", place + ".port")
while answers: server.handle_request()
]]

local function content(path)
  local handle = io.open(path)
  local body = handle and handle:read "a"
  if handle then handle:close() end
  return body
end

local function with_server(answers, fn)
  local path = os.tmpname()
  local list = {}
  for i, answer in ipairs(answers) do list[i] = { answer[1], answer[2], answer[3] or { ["Server"] = "spec" } } end
  local running = task.spawn(process.run, { "/usr/bin/python3", "-c", server_code, path, json.encode(list), limit = 20 })
  local port = testing.wait_for(function() return content(path .. ".port") end, 15, "the server")
  local ok, why = pcall(fn, "http://127.0.0.1:" .. port, function() return content(path .. ".asked") end)
  running:cancel()
  pcall(running.wait, running)
  for _, ending in ipairs { "", ".port", ".asked" } do os.remove(path .. ending) end
  if not ok then error(why, 0) end
end

-- A paid order of a provider, and the provider's name of its payment.
local function paid_order(provider)
  local account = people.account()
  local order = store.create { account_id = account.id, pack = packs.by_name "starter", provider = provider,
    idem_key = crypto.random_token(12) }
  local payment = "pi_" .. crypto.hex(crypto.random_bytes(8))
  orders.apply(provider, { id = crypto.random_token(9), type = "paid", order = order.public_id,
    amount = order.price_minor, currency = order.currency, payment = payment })
  return order, payment
end

local function charge(order, payment, more)
  local made = { id = "ch_" .. payment, amount = order.price_minor, amount_refunded = 0, currency = "usd", paid = true,
    disputed = false, payment_intent = payment, metadata = { order = order.public_id } }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

local function page(charges, more)
  return { 200, json.encode { object = "list", data = #charges > 0 and charges or json.array {}, has_more = more == true } }
end

-- Only what is about our orders: other specs have theirs.
local function about(differences, ...)
  local wanted, found = {}, {}
  for _, order in ipairs { ... } do wanted[order.public_id] = true end
  for _, d in ipairs(differences) do
    if d.order == nil or wanted[d.order] then found[d.payment] = d.problem end
  end
  return found
end

describe("Stripe's books", function()
  it("are read page by page, and agree where they agree", function()
    local one, first = paid_order "stripe"
    local two, second = paid_order "stripe"
    with_server({ page({ charge(one, first) }, true), page({ charge(two, second), charge(two, "pi_no", { paid = false }) }) },
      function(base, asked)
        testing.with_settings({ ["payments.stripe.base"] = base, ["payments.stripe.key"] = "sk_test" }, function()
          local found, count = reconcile.provider(stripe, os.time() - 60, os.time() + 60)
          assert.equal(2, count)
          assert.same({}, about(found, one, two))
        end)
        assert.matches("^/v1/charges%?created%%5Bgte%%5D=%d+", asked())
        assert.matches("starting_after=ch_" .. first, asked())
      end)
  end)

  it("name every payment and every order that they disagree about", function()
    local missing, never = paid_order "stripe"
    local less, small = paid_order "stripe"
    local back, given = paid_order "stripe"
    local quarrel, disputed = paid_order "stripe"
    local twice, double = paid_order "stripe"
    local open = store.create { account_id = people.account().id, pack = packs.by_name "starter", provider = "stripe",
      idem_key = crypto.random_token(12) }
    with_server({ page {
      charge(less, small, { amount = less.price_minor - 1 }), charge(back, given, { amount_refunded = 100 }),
      charge(quarrel, disputed, { disputed = true }), charge(twice, double), charge(twice, "pi_again"),
      charge(open, "pi_open"), charge(open, "pi_strange", { metadata = { order = "no-such-order-of-ours" } }),
    } }, function(base)
      testing.with_settings({ ["payments.stripe.base"] = base, ["payments.stripe.key"] = "sk_test" }, function()
        local found = about((reconcile.provider(stripe, os.time() - 60, os.time() + 60)), missing, less, back, quarrel,
          twice, open)
        assert.same({
          [never] = "the order is credited, the provider has no payment of it",
          [small] = "is over 598 USD, the order over 599 USD", [given] = "gave 100 back, our refunds 0",
          [disputed] = "is disputed, and nobody has told us", pi_again = "is the second of its order",
          pi_open = "was paid, the order is created", pi_strange = "is of no order of ours",
        }, found)
      end)
    end)
  end)

  it("that cannot be read are no proof of anything", function()
    for _, answer in ipairs { { 500, "{}" }, { 200, "no json" }, { 200, '{"data":[{"id":"ch_1"}]}' }, { 200, '{"data":7}' } } do
      with_server({ answer }, function(base)
        testing.with_settings({ ["payments.stripe.base"] = base, ["payments.stripe.key"] = "sk_test" }, function()
          assert.is_nil((reconcile.provider(stripe, os.time() - 60, os.time())))
        end)
      end)
    end
  end)
end)

describe("the gateway's list", function()
  local key = ("k"):rep(32)
  local function signed(body) return { 200, body, { signature = crypto.hex(crypto.hmac_sha256(key, body)) } } end

  it("is believed when it is signed and readable", function()
    local order, payment = paid_order "gateway"
    local body = ("%s,%s,%d,USD,0\n"):format(order.public_id, payment, order.price_minor)
    local function ask(answer)
      local list, reason
      with_server({ answer }, function(base, asked)
        testing.with_settings({ ["payments.gateway.report"] = base .. "/list?x=1", ["payments.gateway.key"] = key,
          ["payments.gateway.merchant"] = "m1" }, function() list, reason = gateway.payments(1, 2) end)
        assert.matches("^/list%?x=1&at=%d+&from=1&merchant=m1&sig=%x+&to=2\n$", asked())
      end)
      return list, reason
    end
    assert.same({ { order = order.public_id, payment = payment, amount = order.price_minor, currency = "USD", refunded = 0 } },
      (ask(signed(body))))
    assert.same({}, (ask(signed(""))))
    for _, answer in ipairs { { 200, body }, { 200, body, { signature = ("0"):rep(64) } }, { 404, "" }, signed "a,b,c,d,e\n",
      signed(body:gsub("USD", "usd")) } do
      assert.is_nil((ask(answer)))
    end
  end)
end)

describe("what is compared without an end", function()
  it("raises the metric and names account, order and entries", function()
    testing.with_settings({ ["payments.providers"] = "sandbox" }, function()
      testing.expect_log "reconcile.payment"
      local before = job.look_at_providers()
      local order = paid_order "sandbox"
      db.exec("UPDATE orders SET paid_at = paid_at - INTERVAL 1 HOUR WHERE id = ?", order.id)
      db.exec("UPDATE payment_events SET received_at = received_at - INTERVAL 1 HOUR WHERE order_id = ?", order.id)
      assert.equal(before, job.look_at_providers())
      -- An event that we never got.
      db.exec("UPDATE payment_events SET received_at = received_at - INTERVAL 9 DAY WHERE order_id = ?", order.id)
      assert.equal(before + 1, job.look_at_providers())
      local text = {}
      local sink = { write = function(_, ...)
        for _, part in ipairs { ... } do text[#text + 1] = tostring(part) end
      end }
      assert.equal(1, command.run({ "reconcile", "--wait", "0", "--providers" }, { stdout = sink, stderr = sink }))
      assert.matches("order " .. order.public_id:gsub("%-", "%%-") .. ", account " .. order.account_id
        .. "%) the order is credited, the provider has no payment of it", table.concat(text))
      db.exec("UPDATE payment_events SET received_at = received_at + INTERVAL 9 DAY WHERE order_id = ?", order.id)
      assert.equal(2, command.run({ "reconcile", "--providers", "--days", "0" }, { stdout = sink, stderr = sink }))
      assert.equal(order.credits, billing.wallet(order.account_id).paid)
    end)
  end)
end)
