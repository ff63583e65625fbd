-- From earnings to the bank: what may be paid when, by whom, and what the files and the ledger say of it.
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local files = require "site.payouts.files"
local flow = require "site.payouts.flow"
local iban = require "site.payouts.iban"
local json = require "runtime.json"
local ledger = require "store.ledger"
local ledger_post = require "store.ledger_post"
local people = dofile(config.root .. "/tests/site/people.lua")
local process = require "runtime.process"
local store = require "store.payouts"
local testing = require "footlight.testing"

local CREDIT = 1000000
local IBAN = "DE89370400440532013000"
local payer = { ["payouts.name"] = "Fußlicht & Söhne GmbH", ["payouts.iban"] = "GB82 WEST 1234 5698 7654 32" }

local function days_ago(days) return os.date("!%Y-%m-%d %H:%M:%S", os.time() - days * 86400) end

-- Earnings of a model, as if from a sale so many days ago.
local function earn(model, credits, days)
  db.transaction(function(tx)
    ledger_post.book({ key = "test:" .. crypto.random_token(12), type = "tip", at = days_ago(days), legs = {
      { owner_type = "model", owner_id = model.id, kind = "model_pending", amount = credits * CREDIT },
      { owner_type = "site", owner_id = 0, kind = "provider_clearing", amount = -credits * CREDIT },
    } }, tx)
  end)
end

-- An approved model with a bank account that has rested, and earnings that are payable.
local function earner(credits)
  local model, account = people.model()
  store.set_method(model.id, { holder = "=Zoë <Müller> & Co", iban = IBAN }, account.id)
  if credits then
    earn(model, credits, 20)
    flow.release(model.id)
  end
  return model, account
end

-- Payouts look at the clock of the database, which no test can move: the accounts' rest is set to nothing.
local function without_rest(fn)
  local terms = store.terms
  store.terms = function(tx)
    local now = terms(tx)
    now.method_hold_hours = 0
    return now
  end
  local _ <close> = setmetatable({}, { __close = function() store.terms = terms end })
  return fn()
end

local function staff() return people.account { role = "admin" } end

local function batch_of(model, creator)
  local id = without_rest(function() return flow.create(creator.id) end)
  for _, payout in ipairs(store.of_batch(id)) do
    if payout.model_id == model.id then return id, payout end
  end
end

local function balances(model)
  local figures = store.figures(model.id)
  return { figures.payable, figures.in_payout }
end

describe("earnings", function()
  it("rest for the hold period, and a reserve of them longer", function()
    local model = people.model()
    earn(model, 100, 20)
    earn(model, 40, 2)
    local figures = store.figures(model.id)
    assert.equal(140 * CREDIT, figures.pending)
    assert.equal(40 * CREDIT, figures.held)
    assert.equal(10 * CREDIT, figures.reserve)
    assert.equal(90 * CREDIT, figures.releasable)
    assert.equal(90 * CREDIT, flow.release(model.id))
    assert.equal(0, flow.release(model.id))
    figures = store.figures(model.id)
    assert.same({ 50 * CREDIT, 90 * CREDIT }, { figures.pending, figures.payable })
  end)

  it("from somebody whose payment is disputed wait for the end of the dispute", function()
    local model = people.model()
    earn(model, 100, 20)
    local buyer = people.account()
    local orders, payments = require "store.orders", require "store.payments"
    local order = orders.create { account_id = buyer.id, pack = require("store.packs").by_name "starter",
      provider = "sandbox", idem_key = crypto.random_token(12) }
    local ok, figures = pcall(db.transaction, function(tx)
      payments.open_dispute({ order_id = order.id, provider = "sandbox", provider_ref = order.public_id,
        amount_minor = 1 }, tx)
      local _, txn = tx.exec([[
        INSERT INTO ledger_txns (idem_key, type, occurred_at, account_id, wseq) VALUES (?, 'tip', ?, ?, 1)]],
        crypto.random_token(12), days_ago(20), buyer.id)
      tx.exec([[
        INSERT INTO ledger_entries (txn_id, wallet_id, seq, amount, balance_after)
        SELECT ?, w.id, b.version + 1, 30000000, b.balance + 30000000 FROM wallets w
        JOIN wallet_balances b ON b.wallet_id = w.id WHERE w.owner_type = 'model' AND w.owner_id = ?]], txn, model.id)
      tx.exec([[
        UPDATE wallet_balances b JOIN wallets w ON w.id = b.wallet_id
        SET b.balance = b.balance + 30000000, b.version = b.version + 1
        WHERE w.owner_type = 'model' AND w.owner_id = ?]], model.id)
      error({ found = store.figures(model.id, nil, tx) }, 0) -- nothing of this is kept
    end)
    assert.is_false(ok)
    assert.same({ 130 * CREDIT, 30 * CREDIT, 90 * CREDIT },
      { figures.found.pending, figures.found.disputed, figures.found.releasable })
  end)

  it("become whole units of money, and what is less stays", function()
    assert.same({ 10, 1000000 }, { flow.convert(1000000, 10) })
    assert.same({ 10, 1000000 }, { flow.convert(1099999, 10) })
    assert.same({ 0, 0 }, { flow.convert(99999, 10) })
    assert.same({ 7, 2333334 }, { flow.convert(2333334, 3) })
    for _ = 1, 300 do
      local amount, rate = crypto.random_below(1000000000), 1 + crypto.random_below(300)
      local minor, cost = flow.convert(amount, rate)
      assert.is_true(cost <= amount and amount - cost < CREDIT)
      assert.equal(minor, cost * rate // CREDIT)
    end
  end)
end)

describe("a bank account", function()
  it("is one only with the right length and check digits", function()
    for _, good in ipairs { "DE89 3704 0044 0532 0130 00", "gb82west12345698765432", "FR1420041010050500013M02606",
      "NL91ABNA0417164300" } do
      assert.is_truthy(iban.parse(good), good)
    end
    for _, bad in ipairs { "DE88370400440532013000", "DE8937040044053201300", "XX89370400440532013000", "", "DE",
      "DE89370400440532013000'", "ＤE89370400440532013000" } do
      assert.is_nil(iban.parse(bad), bad)
    end
    assert.equal("DEUTDEFF", iban.parse_bic "deutdeff")
    assert.is_nil(iban.parse_bic "DEUTDEF")
  end)

  it("is sealed in the database and never changed in place", function()
    local model = earner()
    local row = db.one("SELECT id, sealed, hint FROM payout_methods WHERE model_id = ?", model.id)
    assert.is_nil(row.sealed:find(IBAN, 1, true))
    assert.equal(IBAN, store.details(row.id).iban)
    assert.equal("DE **** 3000", row.hint)
    assert.is_false(pcall(db.exec, "UPDATE payout_methods SET hint = 'x' WHERE id = ?", row.id))
  end)

  it("that was changed lately is not paid to", function()
    local model = earner(200)
    for _, row in ipairs(store.eligible(store.terms())) do assert.not_equal(model.id, row.model_id) end
    assert.is_true(store.method(model.id, store.terms()).rests)
  end)
end)

describe("a batch", function()
  it("takes two persons, neither of whom is in it", function()
    local model, owner = earner(200)
    local maker = staff()
    local id = batch_of(model, maker)
    assert.same({ nil, "same_person" }, { flow.approve(id, maker.id) })
    assert.same({ nil, "own" }, { flow.approve(id, owner.id) })
    testing.with_settings(payer, function() assert.same({ nil, "state" }, { flow.send(id, staff().id) }) end)
    assert.is_false(pcall(db.exec, "UPDATE payout_batches SET approved_by = created_by WHERE id = ?", id))
    assert.is_true(flow.approve(id, staff().id))
    assert.same({ nil, "state" }, { flow.approve(id, staff().id) })
    assert.is_true(flow.cancel(id, maker.id))
    assert.same({ 180 * CREDIT, 0 }, balances(model))
  end)

  it("is sent with its file's hash written down first, and settles or comes back", function()
    local model = earner(200)
    local other = earner(100)
    local held = earner(100)
    local maker = staff()
    local id, payout = batch_of(model, maker)
    local rows = {}
    for _, row in ipairs(store.of_batch(id)) do rows[row.model_id] = row end
    assert.is_true(flow.act(rows[held.id].id, "hold", "a question", maker.id))
    assert.is_true(flow.approve(id, staff().id))
    assert.same({ nil, "payer" }, { flow.send(id, maker.id) })
    testing.with_settings(payer, function()
      assert.is_true(flow.send(id, maker.id))
      assert.same({ nil, "state" }, { flow.send(id, maker.id) })
      local batch = store.batch(id)
      local text = flow.bank_file(batch, batch.sent_at)
      assert.equal(batch.file_sha256, crypto.hex(crypto.sha256(text)))
      assert.is_nil(text:find(rows[held.id].reference, 1, true))
      assert.is_truthy(text:find(payout.reference, 1, true))
    end)
    assert.same({ 0, 0 }, balances(model))
    assert.is_true(flow.act(payout.id, "settle", nil, maker.id))
    assert.same({ nil, "state" }, { flow.act(payout.id, "return", "late", maker.id) })
    assert.is_true(flow.act(rows[other.id].id, "return", "account closed", maker.id))
    assert.same({ 90 * CREDIT, 0 }, balances(other))
    assert.is_true(flow.act(rows[held.id].id, "let_go", nil, maker.id))
    assert.same({ 90 * CREDIT, 0 }, balances(held))
    assert.equal(1800, payout.money_minor)
    local statement = store.statements(model.id, 1)[1]
    assert.equal(payout.reference, statement.reference)
    local full = store.statement(statement.id)
    assert.is_true(full.intact)
    assert.equal(1800, json.decode(full.totals).money_minor)
    assert.is_false(pcall(db.exec, "UPDATE statements SET totals = '{}' WHERE id = ?", statement.id))
    assert.is_false(pcall(db.exec, "DELETE FROM statements WHERE id = ?", statement.id))
    -- A returned one can be paid again.
    assert.is_truthy(batch_of(other, maker))
  end)

  it("in another currency than euros is the CSV, under the same hash", function()
    earner(200)
    local terms = store.terms
    store.terms = function(tx)
      local now = terms(tx)
      now.currency, now.method_hold_hours = "USD", 0
      return now
    end
    local _ <close> = setmetatable({}, { __close = function() store.terms = terms end })
    local maker = staff()
    local id = flow.create(maker.id)
    assert.is_true(flow.approve(id, staff().id))
    testing.with_settings(payer, function() assert.is_true(flow.send(id, maker.id)) end)
    local batch = store.batch(id)
    assert.equal(batch.file_sha256, crypto.hex(crypto.sha256(files.batch_csv(flow.lines(id)))))
    local client = people.signed_in(maker)
    assert.equal(200, client:get(("/admin/payouts/%d/payouts.csv"):format(id)).status)
    assert.equal(404, client:get(("/admin/payouts/%d/pain001.xml"):format(id)).status)
  end)

  it("never takes what is not there, however many are made at once", function()
    local model = earner(200)
    local maker, task = staff(), require "runtime.task"
    without_rest(function()
      local running = {}
      for i = 1, 4 do running[i] = task.spawn(function() return pcall(flow.create, maker.id) end) end
      for _, each in ipairs(running) do each:wait() end
    end)
    assert.same({ 0, 180 * CREDIT }, balances(model))
  end)
end)

describe("the files", function()
  local lines = {
    { reference = "FL1-1-a", holder = "=HYPERLINK(\"x\")", iban = IBAN, minor = 1805, currency = "EUR" },
    { reference = "FL1-2-b", holder = "Zoë <Müller> & Co", iban = IBAN, bic = "DEUTDEFF", minor = 99, currency = "EUR" },
  }

  it("give spreadsheets no formula to carry out", function()
    local text = files.batch_csv(lines)
    assert.is_truthy(text:find("\"'=HYPERLINK(\"\"x\"\")\"", 1, true))
    for _, start in ipairs { "=", "+", "-", "@", "\t=", "  =" } do
      assert.equal("\"'", files.csv({ { start .. "1" } }):sub(1, 2), start)
    end
    assert.equal('"18.05"', text:match('"18%.05"'))
    assert.is_truthy(files.csv({ { "a\r\n=b" } }):find('^"a  =b"\r\n$'))
  end)

  it("for the bank keep the rules of pain.001 and of SEPA, whatever models call themselves", function()
    local function problems(text)
      local outcome = process.run { "xmllint", "--noout", "--nonet", "--schema",
        config.root .. "/tests/billing/pain001.xsd", "-", input = text }
      return outcome.status, outcome.errors
    end
    local function written(changes)
      local line = { reference = "FL1-1-a", holder = "A", iban = IBAN, minor = 1, currency = "EUR" }
      for name, value in pairs(changes or {}) do line[name] = value end
      return files.pain001 { id = "FOOTLIGHT-1", at = "2026-11-24T10:00:00", day = "2026-11-24",
        lines = { line, lines[2] }, payer = { name = "Fußlicht & Söhne", iban = "GB82WEST12345698765432" } }
    end
    for _, holder in ipairs { "A", ("Ä"):rep(70), "李小龍", "O'Neil-Smith (Ltd.) + Co, 1/2", "]]>&<", "\u{202e}x", "\0\1" } do
      local status, said = problems(written { holder = holder })
      assert.equal(0, status, said)
    end
    for _, minor in ipairs { 1, 100, 99999999999 } do assert.equal(0, problems(written { minor = minor })) end
    for _, bad in ipairs { { minor = 0 }, { minor = -1 }, { minor = 100000000000 }, { currency = "USD" } } do
      assert.is_false(pcall(written, bad))
    end
    -- The rules bite.
    local good = written()
    for was, other in pairs { ["<IBAN>DE"] = "<IBAN>D", ["Ccy=\"EUR\""] = "", ["<NbOfTxs>2"] = "<NbOfTxs>x",
      ["<PmtMtd>TRF"] = "<PmtMtd>CHK", ["FL1%-1%-a"] = ("x"):rep(36), ["<BIC>DEUTDEFF"] = "<BIC>DEUTDE",
      ["2026%-11%-24</ReqdExctnDt>"] = "24.11.2026</ReqdExctnDt>", ["<ChrgBr>SLEV</ChrgBr>"] = "",
      [">0%.01<"] = ">0.001<", ["001%.001%.03"] = "001.001.09" } do
      local spoilt, count = good:gsub(was, other)
      assert.is_true(count > 0, was)
      assert.not_equal(0, problems(spoilt), was)
    end
  end)

  it("for the bank are well-formed, and their sums and counts agree with the lines", function()
    local text = files.pain001 { id = "FOOTLIGHT-1", at = "2026-11-24T10:00:00", day = "2026-11-24", lines = lines,
      payer = { name = "Fußlicht & Söhne", iban = "GB82WEST12345698765432" } }
    local check = [[
import sys, xml.etree.ElementTree as tree
from decimal import Decimal
n = "{urn:iso:std:iso:20022:tech:xsd:pain.001.001.03}"
root = tree.fromstring(sys.stdin.buffer.read())
amounts = [Decimal(e.text) for e in root.iter(n + "InstdAmt")]
sums = [Decimal(e.text) for e in root.iter(n + "CtrlSum")]
counts = [int(e.text) for e in root.iter(n + "NbOfTxs")]
assert sums == [sum(amounts)] * 2 and counts == [len(amounts)] * 2, (sums, counts, amounts)
print(root.tag == n + "Document", sum(amounts), "|".join(e.text for e in root.iter(n + "Nm")))]]
    local outcome = process.run { "/usr/bin/python3", "-c", check, input = text }
    assert.equal("True 19.04 Fusslicht . Soehne|Fusslicht . Soehne|.HYPERLINK(.x.)|Zoe .Mueller. . Co\n",
      outcome.output, outcome.errors)
  end)
end)

describe("the months", function()
  it("get one statement each, which repeats do not change", function()
    local model = people.model()
    earn(model, 10, 1)
    local month = os.date("!%Y-%m", os.time() - 86400)
    flow.close_month(model.id, month)
    earn(model, 5, 1)
    flow.close_month(model.id, month)
    local list = store.statements(model.id, 10)
    assert.equal(1, #list)
    assert.equal(10 * CREDIT, json.decode(store.statement(list[1].id).totals).model_pending.tip.amount)
  end)
end)

describe("the pages about payouts", function()
  it("let a model set an account by her password, and show what there is", function()
    local model, account = people.model()
    local client = people.signed_in(account)
    local page = client:get "/studio/payouts"
    assert.equal(200, page.status)
    local values = { holder = "Zoë Müller", iban = "DE89 3704 0044 0532 0130 00", current = people.password }
    for name, wrong in pairs { iban = "DE00", holder = "", current = "wrong", bic = "no-bic" } do
      local sent = {}
      for key, value in pairs(values) do sent[key] = value end
      sent[name] = wrong
      local again = client:submit(page, sent, "/studio/payouts")
      assert.equal(422, again.status, name)
      assert.is_nil(again.body:find(people.password, 1, true))
    end
    page = client:submit(page, values, "/studio/payouts")
    assert.is_truthy(page:has "We pay to DE **** 3000.")
    assert.is_nil(page.body:find(IBAN, 1, true))
    earn(model, 12, 1)
    flow.close_month(model.id, os.date("!%Y-%m", os.time() - 86400))
    page = client:get "/studio/earnings"
    assert.is_truthy(page:has "12")
    local id = page.body:match "/studio/earnings/statements/(%d+)"
    local shown = client:get("/studio/earnings/statements/" .. id)
    assert.equal(200, shown.status)
    assert.is_truthy(shown:has "12")
    local original = client:get(("/studio/earnings/statements/%s/original"):format(id))
    assert.equal(store.statement(math.tointeger(tonumber(id))).sha256, crypto.hex(crypto.sha256(original.body)))
    local _, stranger = people.model()
    assert.equal(404, people.signed_in(stranger):get("/studio/earnings/statements/" .. id).status)
    assert.equal(404, people.signed_in(people.account()):get("/studio/payouts").status)
  end)

  it("keep a model out of batches and let her in again, with a reason", function()
    local model, owner = earner(200)
    local client = people.signed_in(staff())
    local function put(values)
      local sent = { model = model.slug, to = "hold", why = "a question", current = people.password }
      for name, value in pairs(values or {}) do sent[name] = value end
      return client:submit(client:get "/admin/payouts", sent, "/admin/payout-holds")
    end
    local function is_eligible()
      return without_rest(function()
        for _, row in ipairs(store.eligible(store.terms())) do
          if row.model_id == model.id then return true end
        end
        return false
      end)
    end
    assert.is_true(is_eligible())
    for name, wrong in pairs { model = "no-such-model", to = "x", why = "", current = "wrong" } do
      assert.equal(422, put({ [name] = wrong }).status, name)
    end
    assert.is_true(is_eligible())
    local page = put()
    assert.is_truthy(page:has "a question")
    assert.is_false(is_eligible())
    put { to = "release", why = "answered" }
    assert.is_true(is_eligible())
    assert.is_false(pcall(db.exec, "UPDATE payout_holds SET reason = 'x' WHERE model_id = ?", model.id))
    local own = people.signed_in(owner)
    assert.equal(404, own:get("/admin/payouts").status)
  end)

  it("take a batch from one member of staff to the other, and its files to the bank", function()
    testing.with_settings(payer, function()
      local model = earner(300)
      local first, second = people.signed_in(staff()), people.signed_in(staff())
      local proof = { current = people.password }
      local path = without_rest(function()
        local page = first:get "/admin/payouts"
        assert.equal(422, first:submit(page, { current = "wrong" }, "/admin/payouts").status)
        return first:submit(page, proof, "/admin/payouts").url
      end)
      assert.is_truthy(path:find "^/admin/payouts/%d+$")
      local function press(client, to)
        local sent = client:get(path):form(path).fields
        sent.to, sent.current = to, people.password
        return client:post(path, sent)
      end
      -- The maker is not offered what only another may do; whoever sends it all the same is refused.
      assert.is_nil(first:get(path).body:find('value="approve"', 1, true))
      assert.is_truthy(second:get(path).body:find('value="approve"', 1, true))
      assert.equal(409, press(first, "approve").status)
      assert.equal(409, second:get(path .. "/pain001.xml").status)
      assert.equal(200, press(second, "approve").status)
      assert.equal(200, press(first, "send").status)
      local xml = first:get(path .. "/pain001.xml")
      assert.equal(200, xml.status)
      assert.is_truthy(xml.headers["content-disposition"]:find("attachment", 1, true))
      for _, wrong in ipairs { "", "DE89370400440532013000" } do
        testing.with_settings({ ["payouts.iban"] = wrong }, function()
          assert.equal(409, first:get(path .. "/pain001.xml").status)
        end)
      end
      assert.is_truthy(first:get(path .. "/payouts.csv").body:find("'=Zoë", 1, true))
      assert.equal(404, first:get(path .. "/other").status)
      local payout = store.of_model(model.id, 1)[1]
      assert.equal("sent", payout.state)
      local page = first:get(path)
      local function act(action, reason)
        return first:submit(page, { payout = tostring(payout.id), action = action, reason = reason or "",
          current = people.password }, "/payout")
      end
      assert.equal(422, act "return".status)
      assert.equal(200, act("return", "account closed").status)
      assert.equal("returned", store.by_id(payout.id).state)
      assert.equal(409, act "settle".status)
      for _, client in ipairs { people.client(), people.signed_in(people.account { role = "moderator" }) } do
        for _, each in ipairs { "/admin/payouts", path, path .. "/pain001.xml" } do
          assert.equal(404, client:get(each).status, each)
        end
      end
    end)
  end)
end)

describe("the ledger of all this", function()
  it("sums to zero in credits and in money, with balances that are the sums of their entries", function()
    assert.same({}, ledger.unbalanced(10))
    assert.same({}, ledger.wrong_balances(10))
  end)
end)
