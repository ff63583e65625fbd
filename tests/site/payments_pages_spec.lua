-- Buying with codes and at other providers, and the pages of staff about orders, disputes and codes.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local json = require "runtime.json"
local orders = require "site.orders"
local packs = require "store.packs"
local payments = require "store.payments"
local people = dofile(config.root .. "/tests/site/people.lua")
local process = require "runtime.process"
local store = require "store.orders"
local task = require "runtime.task"
local testing = require "footlight.testing"
local text = require "runtime.text"

local function staff()
  local account = people.account { role = "admin" }
  return people.signed_in(account), account
end

local function code() return "T" .. crypto.hex(crypto.random_bytes(6)):upper() end

local function new_code(client, values)
  local sent = { code = code(), credits = "0", percent = "10", budget = "1000", per_account = "1", days = "5" }
  for name, value in pairs(values or {}) do sent[name] = value end
  local page = client:get "/admin/promos"
  for _, form in ipairs(page:forms()) do
    if form.fields.code then
      for name, value in pairs(form.fields) do sent[name] = sent[name] or value end
    end
  end
  return sent.code, client:post("/admin/promos", sent)
end

local function form_of(page, pack)
  for _, form in ipairs(page:forms()) do
    if form.fields.pack == pack then return form.fields end
  end
end

local function buy(client, pack, promo, outcome)
  local page = client:get("/credits" .. (promo and "?promo=" .. promo or ""))
  if page.status ~= 200 then return page end
  page = client:post("/credits/buy", form_of(page, pack))
  if outcome and page.url:find("^/sandbox") then page = client:submit(page, { outcome = outcome }, "/sandbox/pay") end
  return page
end

local function paid_order(pack)
  local account = people.account()
  local order = store.create { account_id = account.id, pack = packs.by_name(pack or "regular"),
    provider = "sandbox", idem_key = crypto.random_token(12) }
  orders.apply("sandbox", { id = crypto.random_token(9), type = "paid", order = order.public_id,
    amount = order.price_minor, currency = order.currency })
  return order, account
end

-- Answers one POST as Stripe does and writes down what was asked.
local stripe_code = [[
import http.server, json, os, sys
port_path, request_path, status, answer = sys.argv[1:5]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        with open(request_path, "w") as out:
            json.dump({"path": self.path, "body": body, "key": self.headers.get("Idempotency-Key"),
                       "authorization": self.headers.get("Authorization")}, out)
        data = answer.encode()
        self.send_response(int(status)); self.send_header("Content-Length", str(len(data))); self.end_headers()
        self.wfile.write(data)
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
server.timeout = 15
with open(port_path + ".new", "w") as out: out.write(str(server.server_port))
os.rename(port_path + ".new", port_path)
server.handle_request()
]]

local function with_stripe(status, answer, fn)
  local path = os.tmpname()
  local running = task.spawn(function()
    return process.run({ "/usr/bin/python3", "-c", stripe_code, path .. ".port", path .. ".request",
      tostring(status), json.encode(answer), limit = 20 })
  end)
  local function content(name)
    local handle = io.open(name)
    local body = handle and handle:read "a"
    if handle then handle:close() end
    return body
  end
  local port = testing.wait_for(function() return content(path .. ".port") end, 15, "the server")
  local ok, why = pcall(testing.with_settings, {
    ["payments.stripe.base"] = "http://127.0.0.1:" .. port, ["payments.stripe.key"] = "sk_test_x",
  }, fn, function() return json.decode(content(path .. ".request")) end)
  if not ok then running:cancel() end
  pcall(running.wait, running)
  for _, ending in ipairs { "", ".port", ".request" } do os.remove(path .. ending) end
  if not ok then error(why, 0) end
end

describe("a promo code", function()
  it("gives its bonus with the pack, once for an account", function()
    local promo = new_code((staff()))
    local account = people.account()
    local client = people.signed_in(account)
    assert.is_truthy(buy(client, "regular", promo, "paid"):has "Credited")
    local wallet = billing.wallet(account.id)
    assert.same({ 100000000, 15000000 }, { wallet.paid, wallet.bonus })
    local page = buy(client, "regular", promo)
    assert.equal(422, page.status)
    assert.is_truthy(page:has "You have used this promo code already.")
  end)

  it("comes back when the order that used it is not paid", function()
    local promo = new_code((staff()))
    local client = people.signed_in(people.account())
    buy(client, "starter", promo, "declined")
    assert.is_truthy(buy(client, "starter", promo, "paid"):has "Credited")
  end)

  it("ends with its budget, counted over all accounts", function()
    local promo = new_code(staff(), { percent = "0", credits = "6", budget = "10" })
    assert.is_truthy(buy(people.signed_in(people.account()), "starter", promo, "paid"):has "Credited")
    local page = buy(people.signed_in(people.account()), "starter", promo)
    assert.equal(422, page.status)
    assert.is_truthy(page:has "This promo code has been used up.")
  end)

  it("is refused when it is unknown, malformed, stopped or over", function()
    local client = people.signed_in(people.account())
    for _, wrong in ipairs { "NOSUCHCODE", "x", "a'b--", text.url "ÄÖÜÄÖÜ" } do
      assert.equal(422, client:get("/credits?promo=" .. wrong).status, wrong)
      local sent = form_of(client:get "/credits", "starter")
      sent.promo = text.unurl(wrong)
      assert.equal(422, client:post("/credits/buy", sent).status, wrong)
    end
    local admin = staff()
    local promo, page = new_code(admin, { days = "2" })
    assert.is_truthy(page:has(promo))
    local id = page.body:match(promo .. ".-/admin/promos/(%d+)/stop")
    admin:submit(page, {}, "/admin/promos/" .. id .. "/stop")
    assert.is_truthy(buy(client, "starter", promo):has "not valid any more")
  end)

  it("must give something, and be new", function()
    local admin = staff()
    local promo = new_code(admin)
    local _, page = new_code(admin, { code = promo:lower() })
    assert.equal(422, page.status)
    _, page = new_code(admin, { percent = "0" })
    assert.equal(422, page.status)
    _, page = new_code(admin, { percent = "101" })
    assert.equal(422, page.status)
  end)
end)

describe("buying at Stripe", function()
  it("makes a session for the price of the pack, leads there, and credits nothing yet", function()
    with_stripe(200, { id = "cs_test_1" .. crypto.hex(crypto.random_bytes(4)), url = "https://checkout.stripe.com/c/pay/1" },
      function(asked)
        local account = people.account()
        local client = people.signed_in(account)
        local sent = form_of(client:get "/credits?provider=stripe", "starter")
        local page = client:post("/credits/buy", sent, { follow = false })
        assert.equal(303, page.status)
        assert.equal("https://checkout.stripe.com/c/pay/1", page.headers.location)
        local order = store.of_account(account.id, 1)[1]
        local request = asked()
        assert.equal("/v1/checkout/sessions", request.path)
        assert.equal("Bearer sk_test_x", request.authorization)
        assert.equal("order:" .. order.public_id, request.key)
        local body = text.unurl(request.body)
        assert.is_truthy(body:find("[unit_amount]=599", 1, true))
        assert.is_truthy(body:find("client_reference_id=" .. order.public_id, 1, true))
        assert.equal("redirected", order.state)
        assert.equal(0, billing.wallet(account.id).paid)
      end)
  end)

  it("says so when Stripe does not answer or answers nonsense", function()
    local account = people.account()
    local client = people.signed_in(account)
    testing.with_settings({ ["payments.stripe.base"] = "http://127.0.0.1:9", ["payments.stripe.key"] = "sk" }, function()
      local page = client:post("/credits/buy", form_of(client:get "/credits?provider=stripe", "starter"))
      assert.equal(503, page.status)
      assert.is_truthy(page:has "Nothing was charged")
    end)
    with_stripe(200, { id = "cs_1", url = "javascript:alert(1)" }, function()
      local page = client:post("/credits/buy", form_of(client:get "/credits?provider=stripe", "starter"))
      assert.equal(503, page.status)
    end)
    assert.equal("created", store.of_account(account.id, 1)[1].state)
  end)

  it("gives the credits back when Stripe refuses the refund", function()
    local account = people.account()
    local order = store.create { account_id = account.id, pack = packs.by_name "regular", provider = "stripe",
      idem_key = crypto.random_token(12) }
    orders.apply("stripe", { id = crypto.random_token(9), type = "paid", order = order.public_id,
      amount = order.price_minor, currency = order.currency, payment = "pi_x" .. order.id })
    with_stripe(400, { error = { code = "charge_already_refunded" } }, function()
      local client = staff()
      local page = client:get("/admin/orders/" .. order.public_id)
      client:submit(page, { amount = "10.99", reason = "a test", current = people.password }, "/refund")
    end)
    assert.equal("refused", payments.refunds_of(order.id)[1].state)
    assert.equal("credited", store.by_public_id(order.public_id).state)
    local wallet = billing.wallet(account.id)
    assert.same({ 100000000, 5000000 }, { wallet.paid, wallet.bonus })
  end)
end)

describe("the pages of staff about money", function()
  local paths = { "/admin/orders", "/admin/disputes", "/admin/promos" }

  it("do not exist for others, moderators among them", function()
    local clients = { people.client(), people.signed_in(people.account()),
      people.signed_in(people.account { role = "moderator" }) }
    local order = paid_order()
    for _, client in ipairs(clients) do
      for _, path in ipairs(paths) do assert.equal(404, client:get(path).status, path) end
      assert.equal(404, client:get("/admin/orders/" .. order.public_id).status)
    end
  end)

  it("find orders by number, account and state, and bear any query", function()
    local client = staff()
    local order, account = paid_order()
    for _, query in ipairs { "q=" .. order.public_id, "q=" .. account.name, "state=credited", "state=nonsense",
      "q=" .. text.url "%_\\'\"" , "page=0" } do
      local page = client:get("/admin/orders?" .. query)
      assert.equal(200, page.status, query)
    end
    assert.is_truthy(client:get("/admin/orders?q=" .. account.name):has(order.public_id))
    assert.is_falsy(client:get("/admin/orders?state=review&q=" .. account.name):has(order.public_id))
    assert.equal(400, client:get("/admin/orders?q=" .. ("a"):rep(101)).status)
    for _, path in ipairs { "/admin/disputes/0", "/admin/disputes/x", "/admin/orders/none" } do
      assert.equal(404, client:get(path).status)
    end
  end)

  it("refund a part and the rest, for a password and a sound amount only", function()
    local client = staff()
    local order, account = paid_order()
    local path = "/admin/orders/" .. order.public_id
    local function try(values)
      values.reason = values.reason or "asked for it"
      return client:submit(client:get(path), values, "/refund")
    end
    for _, amount in ipairs { "0", "-1", "1.999", "1e2", "11.00", "ten" } do
      local status = try({ amount = amount, current = people.password }).status
      assert.is_true(status == 422 or status == 409, amount .. " " .. status)
    end
    assert.equal(422, try({ amount = "1.00", current = "wrong" }).status)
    assert.equal(100000000, billing.wallet(account.id).paid)
    assert.is_truthy(try({ amount = "5.49", current = people.password }):has "Refunded")
    assert.equal(100000000 - 100000000 * 549 // 1099, billing.wallet(account.id).paid)
    assert.is_truthy(try({ amount = "5.50", current = people.password }):has "Refunded")
    assert.equal("refunded", store.by_public_id(order.public_id).state)
    assert.same({ 0, 0 }, { billing.wallet(account.id).paid, billing.wallet(account.id).bonus })
  end)

  it("decide about an order under review, once, and never about one's own", function()
    local client, own = staff()
    local function under_review(account)
      local order = store.create { account_id = account.id, pack = packs.by_name "starter", provider = "sandbox",
        idem_key = crypto.random_token(12) }
      orders.apply("sandbox", { id = crypto.random_token(9), type = "paid", order = order.public_id, amount = 1,
        currency = "USD" })
      return order
    end
    local account = people.account()
    local order = under_review(account)
    local page = client:get("/admin/orders/" .. order.public_id)
    local values = { to = "paid", reason = "the bank confirms it", current = people.password }
    client:submit(page, values, "/review")
    assert.equal(order.credits, billing.wallet(account.id).paid)
    assert.equal(409, client:submit(page, values, "/review").status)
    order = under_review(own)
    assert.equal(403, client:submit(client:get("/admin/orders/" .. order.public_id), values, "/review").status)
  end)

  it("keep evidence with a dispute while it is open", function()
    local client = staff()
    local order = paid_order()
    local function report(type)
      orders.apply("sandbox", { id = crypto.random_token(9), type = type, order = order.public_id,
        amount = order.price_minor, currency = order.currency })
    end
    report "disputed"
    local dispute = payments.latest_dispute(order.id)
    local path = "/admin/disputes/" .. dispute.id
    local page = client:get(path)
    assert.equal(422, client:submit(page, { evidence = "short" }, path).status)
    client:submit(page, { evidence = "The buyer watched for an hour." }, path)
    assert.equal("The buyer watched for an hour.", payments.dispute(dispute.id).evidence)
    report "won"
    assert.equal(409, client:submit(page, { evidence = "Too late, all of this." }, path).status)
  end)
end)
