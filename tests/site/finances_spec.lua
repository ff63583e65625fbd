-- Staff look at money as a whole, at transactions and at wallets; account owners at their own statements.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local finances = require "store.finances"
local flusher = require "jobs.ledger"
local people = dofile(config.root .. "/tests/site/people.lua")
local proof = require "store.ledger_proof"
local task = require "runtime.task"

local CREDIT = 1000000

local function op(name) return "spec:" .. crypto.random_token(9) .. ":" .. name end
local function flush()
  while flusher.flush() > 0 do end
end
local function staff()
  local account = people.account { role = "admin" }
  return people.signed_in(account), account
end

-- An account with a purchase, a tip and a session, all booked.
local function spender()
  local account, model = people.account(), people.model()
  local keys = { buy = op "buy", tip = op "tip", sid = op "sid" }
  billing.credit { op = keys.buy, account = account.id, amount = 50 * CREDIT, type = "purchase", reason = "=1+1" }
  billing.tip { op = keys.tip, account = account.id, amount = 7 * CREDIT, payee = model.id }
  billing.open { sid = keys.sid, account = account.id, rate = 60 * CREDIT, minimum = 2 * CREDIT, payee = model.id }
  task.sleep(0.01) -- a session of no time costs nothing
  billing.close(keys.sid, "viewer")
  flush()
  return account, model, keys
end

describe("the pages about money as a whole", function()
  it("show staff what waits, what moved, and what everybody has", function()
    local client = staff()
    spender()
    local page = client:get "/admin/finances"
    assert.equal(200, page.status)
    for _, text in ipairs { "Finances", "Entries set aside", "Purchase", "Tip", "Payment providers", "Closed months" } do
      assert.is_truthy(page:has(text), text)
    end
    assert.equal(200, client:get("/admin/finances?month=2000-01").status)
    assert.is_truthy(client:get("/admin/finances?month=9999-99"):has(os.date "!%Y-%m"))
    -- All of it sums to zero in each currency.
    local sums = {}
    for _, row in ipairs(finances.balances()) do sums[row.currency] = (sums[row.currency] or 0) + row.balance end
    for currency, sum in pairs(sums) do assert.equal(0, sum, currency) end
  end)

  it("find transactions by account, model, key, type and time, and show their legs", function()
    local client = staff()
    local account, model, keys = spender()
    local function rows(query) return client:get("/admin/ledger?" .. query) end
    local today = os.date "!%Y-%m-%d"
    assert.is_truthy(rows("q=" .. account.name):has "3 transactions")
    assert.is_truthy(rows("q=" .. model.slug):has "2 transactions")
    assert.is_truthy(rows("q=" .. keys.buy):has "1 transaction")
    assert.is_truthy(rows("q=" .. account.name .. "&type=tip"):has "1 transaction")
    assert.is_truthy(rows(("q=%s&from=%s&to=%s"):format(account.name, today, today)):has "3 transactions")
    assert.is_truthy(rows("q=" .. account.name .. "&to=2001-01-01"):has "0 transactions")
    for _, bad in ipairs { "from=2026-13-45", "from=x&to=%27", "type=nothing", "page=abc", "q=%25%5F" } do
      assert.equal(200, rows(bad).status, bad)
    end
    assert.equal(400, rows("q=" .. ("x"):rep(161)).status)
    assert.equal(404, rows("page=999").status)
    local id = db.one("SELECT id FROM ledger_txns WHERE idem_key = ?", keys.tip).id
    local page = client:get("/admin/ledger/" .. id)
    assert.equal(200, page.status)
    assert.is_truthy(page:has(account.name))
    assert.is_truthy(page:has "Earned, resting")
    assert.equal(404, client:get("/admin/ledger/999999999999").status)
    assert.equal(404, client:get("/admin/ledger/x").status)
  end)

  it("give the same as CSV, in which nothing is a formula", function()
    local client = staff()
    local account, _, keys = spender()
    local csv = client:get("/admin/ledger.csv?q=" .. account.name)
    assert.equal(200, csv.status)
    assert.matches("attachment", csv.headers["content-disposition"])
    assert.is_truthy(csv.body:find(('"purchase","%s"'):format(keys.buy), 1, true))
    assert.is_truthy(csv.body:find('"\'=1+1","50.000000","0.000000","0.000000"', 1, true), csv.body)
    assert.is_truthy(csv.body:find('"-7.000000"', 1, true))
    local count = select(2, csv.body:gsub("\r\n", ""))
    assert.equal(4, count)
    csv = client:get "/admin/orders.csv?state=credited"
    assert.equal(200, csv.status)
    assert.matches('^"order","account","created"', csv.body)
  end)

  it("do not exist for others", function()
    local account = people.account()
    for _, client in ipairs { people.client(), people.signed_in(account), people.signed_in(people.account { role = "moderator" }) } do
      for _, path in ipairs { "/admin/finances", "/admin/ledger", "/admin/ledger.csv", "/admin/ledger/1", "/admin/orders.csv",
        "/admin/wallets/" .. account.name, "/admin/wallets/" .. account.name .. "/statement.csv" } do
        assert.equal(404, client:get(path).status, path)
      end
    end
  end)
end)

describe("a wallet's page", function()
  local function act(client, account, path, values)
    local page = client:get("/admin/wallets/" .. account.name)
    local sent = page:form(path).fields
    sent.current = people.password
    for name, value in pairs(values) do sent[name] = value end
    return client:post(("/admin/wallets/%s/%s"):format(account.name, path), sent), sent
  end

  it("adjusts by a sound amount, a reason and the password only, once for a key", function()
    local client, me = staff()
    local account = spender()
    local before = billing.wallet(account.id).paid
    for field, wrong in pairs { amount = "0", reason = "x", current = "wrong", bucket = "gold" } do
      local values = { amount = "2.5", bucket = "paid", reason = "goodwill" }
      values[field] = wrong
      assert.equal(422, (act(client, account, "adjust", values)).status, field)
    end
    for _, wrong in ipairs { "1.234", "-", "1e3", "99999999999", "- 1", "0.00" } do
      assert.equal(422, (act(client, account, "adjust", { amount = wrong, bucket = "paid", reason = "goodwill" })).status, wrong)
    end
    assert.equal(before, billing.wallet(account.id).paid)
    local page, sent = act(client, account, "adjust", { amount = "2.5", bucket = "paid", reason = "goodwill" })
    assert.equal(200, page.status)
    assert.equal(before + 2500000, billing.wallet(account.id).paid)
    -- The same form again, and the same key with something else.
    assert.equal(200, client:post(("/admin/wallets/%s/adjust"):format(account.name), sent).status)
    sent.amount = "3"
    assert.equal(409, client:post(("/admin/wallets/%s/adjust"):format(account.name), sent).status)
    assert.equal(before + 2500000, billing.wallet(account.id).paid)
    assert.equal(409, (act(client, account, "adjust", { amount = "-1", bucket = "bonus", reason = "goodwill" })).status)
    flush()
    local row = db.one("SELECT actor, reason FROM ledger_txns WHERE account_id = ? AND type = 'adjustment'", account.id)
    assert.same({ actor = "account:" .. me.id, reason = "goodwill" }, row)
    assert.equal(1, db.one("SELECT COUNT(*) AS n FROM audit_log WHERE action = 'wallet.adjust' AND target = ?",
      "account:" .. account.id).n)
    assert.is_truthy(client:get("/admin/wallets/" .. account.name):has "agrees")
  end)

  it("freezes and thaws, and nobody changes a wallet of their own", function()
    local client, me = staff()
    local account = spender()
    assert.equal(200, (act(client, account, "freeze", { to = "freeze", why = "a question" })).status)
    assert.is_true(billing.wallet(account.id).frozen)
    assert.equal(200, (act(client, account, "freeze", { to = "unfreeze", why = "answered" })).status)
    assert.is_false(billing.wallet(account.id).frozen)
    assert.equal(422, (act(client, account, "freeze", { to = "melt", why = "a question" })).status)
    local sent = client:get("/admin/wallets/" .. account.name):form("adjust").fields
    sent.current, sent.amount, sent.bucket, sent.reason = people.password, "5", "paid", "for me"
    assert.equal(403, client:post(("/admin/wallets/%s/adjust"):format(me.name), sent).status)
    assert.equal(0, billing.wallet(me.id).paid)
    assert.equal(404, client:get("/admin/wallets/nobody-here").status)
  end)
end)

describe("a statement", function()
  it("is its owner's alone, says what is in the ledger, and has a session as one line", function()
    local account = spender()
    local client = people.signed_in(account)
    local page = client:get "/credits/statement"
    assert.equal(200, page.status)
    assert.is_truthy(page:has "Tip")
    local month = os.date "!%Y-%m"
    local csv = client:get("/credits/statement.csv?month=" .. month)
    assert.equal(200, csv.status)
    local wallet = billing.wallet(account.id)
    local whole = ("%d.%06d"):format(wallet.paid // CREDIT, wallet.paid % CREDIT)
    assert.is_truthy(csv.body:find('"closing","","","","","","' .. whole .. '"', 1, true), csv.body)
    assert.equal(1, select(2, csv.body:gsub('"meter"', "")))
    assert.equal(proof.statement("account", account.id, month .. "-01", "9999-01-01").closing, wallet.paid)
    for _, bad in ipairs { "month=2026-13", "month=9999-01", "month=%27", "month=" } do
      assert.equal(200, client:get("/credits/statement?" .. bad).status, bad)
    end
    page = people.client():get "/credits/statement"
    assert.is_truthy(page.url:find "^/login")
  end)
end)
