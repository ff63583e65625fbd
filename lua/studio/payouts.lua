--- A model's earnings, statements, bank account and payouts.
local audit = require "store.audit"
local db = require "runtime.db"
local form = require "footlight.form"
local forms = require "site.forms"
local iban = require "site.payouts.iban"
local json = require "runtime.json"
local models = require "store.models"
local money = require "admin.money"
local present = require "site.present"
local store = require "store.payouts"

local SHOWN = 50

local method_form = form.define {
  { "holder", form.text { min = 2, max = 70 } },
  { "iban", form.text { max = 42, check = function(value)
    if not iban.parse(value) then return "payouts.bad_iban" end
  end } },
  { "bic", form.text { max = 15, optional = true, check = function(value)
    if not iban.parse_bic(value) then return "payouts.bad_bic" end
  end } },
  { "current", form.password { max = 128 } },
}

local tones = { batched = "soft", approved = "soft", on_hold = "warn", sent = "warn", settled = "good",
  returned = "bad", cancelled = "soft" }

local function model_of(req) return models.by_account(req.account.id) or req:not_found() end

local function payouts_page(req, model, shown, status)
  local terms = store.terms()
  local method = store.method(model.id, terms)
  local figures = store.figures(model.id, terms)
  local rows = {}
  for i, row in ipairs(store.of_model(model.id, SHOWN)) do
    rows[i] = { reference = row.reference, at = money.time(row.created_at, req),
      credits_text = present.credits(row.amount, req.locale), account = row.hint,
      money_text = present.money(row.money_minor, row.currency), note = row.state_reason,
      state_text = req.t("payout.state." .. row.state), tone = tones[row.state] }
  end
  return req:render("studio/payouts", {
    payouts = rows, method = method and { hint = method.hint, rests = method.rests,
      rests_until = money.time(method.rests_until, req) },
    payable_text = present.credits(figures.payable, req.locale),
    minimum_text = present.credits(terms.minimum, req.locale), hours = terms.method_hold_hours,
    enough = figures.payable >= terms.minimum, form = shown or forms.fresh(),
  }, status)
end

local function set_method(req)
  local model = model_of(req)
  local values, errors = method_form:read(req)
  if errors then return payouts_page(req, model, forms.failed(values, errors), 422) end
  if not money.proved(req, values.current) then
    return payouts_page(req, model, forms.failed(values, { current = req.t("admin.wrong_password") }), 422)
  end
  db.transaction(function(tx)
    store.set_method(model.id, { holder = values.holder, iban = iban.parse(values.iban),
      bic = values.bic ~= "" and iban.parse_bic(values.bic) or nil }, req.account.id, tx)
    audit.write({ actor = req.account.id, action = "payout.method", target = "model:" .. model.id,
      ip = req.remote }, tx)
  end, { retries = 3 })
  req:flash(req.t("payouts.method_saved"), "success")
  return req:redirect("/studio/payouts")
end

local function earnings_page(req)
  local model = model_of(req)
  local terms = store.terms()
  local figures = store.figures(model.id, terms)
  local t, tiles = req.t, {}
  for i, name in ipairs { "pending", "held", "reserve", "disputed", "payable", "in_payout" } do
    tiles[i] = { label = t("earnings." .. name), text = present.credits(figures[name], req.locale) }
  end
  local today = os.date("!*t")
  local from = ("%04d-%02d-01 00:00:00"):format(today.year, today.month)
  local rows, statements = {}, {}
  for i, row in ipairs(store.movements(model.id, "model_pending", from, "9999-01-01")) do
    rows[i] = { what = t("earnings.type." .. row.type), count = row.count,
      text = present.credits(row.amount, req.locale) }
  end
  for i, row in ipairs(store.statements(model.id, SHOWN)) do
    statements[i] = { id = row.id, kind = t("statement." .. row.kind), reference = row.reference,
      sha256 = row.sha256, at = money.time(row.created_at, req) }
  end
  return req:render("studio/earnings", { tiles = tiles, movements = rows, statements = statements,
    hold_days = terms.hold_days, reserve_days = terms.reserve_days })
end

local function statement_of(req)
  local model = model_of(req)
  local id = req.params.id:find("^%d+$") and #req.params.id < 16 and math.tointeger(tonumber(req.params.id))
  local row = id and store.statement(id)
  if not row or row.model_id ~= model.id then req:not_found() end
  if not row.intact then error("statement " .. id .. " is not what was hashed") end
  return row
end

-- The text that was hashed.
local function original(req)
  local row = statement_of(req)
  local answer = req:text_response(row.totals, 200, "application/json")
  answer.headers["Content-Disposition"] = ('attachment; filename="statement-%s.json"'):format(row.reference)
  return answer
end

local kinds = { "model_pending", "model_payable", "hold" }

-- The same for people: facts, and what moved in each of her wallets.
local function statement(req)
  local row, t = statement_of(req), req.t
  local totals, facts, moved = json.decode(row.totals), {}, {}
  local function fact(label, text) facts[#facts + 1] = { label = label, text = text } end
  if row.kind == "payout" then
    fact(t("order.credits"), present.credits(totals.amount_micro_credits, req.locale))
    fact(t("statement.rate"), present.money(totals.minor_per_credit, totals.currency) .. " / 1")
    fact(t("payouts.money"), present.money(totals.money_minor, totals.currency))
    fact(t("payouts.account"), totals.account)
  end
  for _, kind in ipairs(row.kind == "month" and kinds or {}) do
    local wallet = t("ledger.kind." .. kind)
    local balance = totals.balances and totals.balances[kind]
    if balance then
      fact(t("statement.opening_of", { wallet = wallet }), present.credits(balance.opening, req.locale))
      fact(t("statement.closing_of", { wallet = wallet }), present.credits(balance.closing, req.locale))
    end
    local types = {}
    for type in pairs(totals[kind] or {}) do types[#types + 1] = type end
    table.sort(types)
    for _, type in ipairs(types) do
      moved[#moved + 1] = { wallet = wallet, what = t("ledger.type." .. type), count = totals[kind][type].count,
        text = present.credits(totals[kind][type].amount, req.locale) }
    end
  end
  return req:render("studio/statement", { id = row.id, reference = row.reference, kind = t("statement." .. row.kind),
    at = money.time(row.created_at, req), sha256 = row.sha256, facts = facts, moved = moved })
end

return function(site)
  site:group({ prefix = "/studio", signed_in = true }, function(group)
    group:get("/earnings", { name = "earnings" }, earnings_page)
    group:get("/earnings/statements/:id", statement)
    group:get("/earnings/statements/:id/original", original)
    group:get("/payouts", { name = "payouts" }, function(req) return payouts_page(req, model_of(req)) end)
    group:post("/payouts", { limit = { name = "payout_method", count = 10, seconds = 3600, by = "account" } },
      set_method)
  end)
end
