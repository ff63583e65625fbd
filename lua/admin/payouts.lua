--- Payout batches: one person makes them, another approves; then the bank's file can be had. Everything asks
-- for the password again and is in the audit log.
local audit = require "store.audit"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local files = require "site.payouts.files"
local flow = require "site.payouts.flow"
local form = require "footlight.form"
local forms = require "site.forms"
local models = require "store.models"
local money = require "admin.money"
local present = require "site.present"
local store = require "store.payouts"

local SHOWN = 100

local proof_form = form.define { { "current", form.password { max = 128 } } }
local batch_form = form.define {
  { "to", form.choice { "approve", "send", "cancel" } },
  { "current", form.password { max = 128 } },
}
local payout_form = form.define {
  { "payout", form.integer { min = 1, max = 999999999 } },
  { "action", form.choice { "hold", "let_go", "settle", "return" } },
  { "reason", form.text { max = 200, optional = true } },
  { "current", form.password { max = 128 } },
}

local hold_form = form.define {
  { "model", form.text { min = 2, max = 60 } },
  { "to", form.choice { "hold", "release" } },
  { "why", form.text { min = 3, max = 200 } },
  { "current", form.password { max = 128 } },
}

local tones = { created = "warn", approved = "warn", sent = "good", cancelled = "soft", batched = "soft",
  on_hold = "warn", settled = "good", returned = "bad" }
local problems = { state = "form.changed", same_person = "admin.payouts.same_person", own = "admin.payouts.own_payout",
  payer = "admin.payouts.no_payer", empty = "admin.payouts.empty", nobody = "admin.payouts.nobody" }
local needs_reason = { hold = true, ["return"] = true }
local order = { "hold", "let_go", "settle", "return" }

local function number(text)
  return text:find("^%d+$") and #text < 16 and math.tointeger(tonumber(text)) or nil
end

local function batch_of(req)
  local id = number(req.params.id)
  return id and store.batch(id) or req:not_found()
end

local function shown(batch, req)
  return { id = batch.id, state = batch.state, tone = tones[batch.state], by = batch.created_by_name,
    state_text = req.t("batch.state." .. batch.state), at = money.time(batch.created_at, req),
    approved_by = batch.approved_by_name, sha256 = batch.file_sha256, sepa = batch.currency == "EUR", count = batch.count,
    money_text = batch.minor and present.money(batch.minor, batch.currency) }
end

local function list_page(req, failed, status)
  local terms = store.terms()
  local rows, waiting = {}, {}
  for i, batch in ipairs(store.batches(SHOWN)) do rows[i] = shown(batch, req) end
  for i, model in ipairs(store.eligible(terms)) do
    waiting[i] = { name = model.stage_name, credits_text = present.credits(model.payable, req.locale),
      money_text = present.money((flow.convert(model.payable, terms.minor_per_credit)), terms.currency) }
  end
  local held = {}
  for i, row in ipairs(store.holds()) do
    held[i] = { name = row.stage_name, slug = row.slug, reason = row.reason, by = row.actor_name,
      at = money.time(row.created_at, req), credits_text = present.credits(row.payable, req.locale) }
  end
  return req:render("admin/payouts", { batches = rows, waiting = waiting, held = held,
    hold_choices = { { value = "hold", label = req.t("admin.payouts.keep_back") },
      { value = "release", label = req.t("admin.payouts.let_in") } }, form = failed or forms.fresh() }, status)
end

local function batch_page(req, batch, failed, status)
  local rows, total = {}, 0
  for i, row in ipairs(store.of_batch(batch.id)) do
    if row.state ~= "cancelled" and row.state ~= "on_hold" then total = total + row.money_minor end
    local moves = {}
    for _, action in ipairs(order) do
      if flow.actions[action].from[row.state] then
        moves[#moves + 1] = { action = action, label = req.t("admin.payouts." .. action) }
      end
    end
    rows[i] = { id = row.id, name = row.stage_name, slug = row.slug, account = row.hint, note = row.state_reason,
      credits_text = present.credits(row.amount, req.locale), reference = row.reference, moves = moves,
      money_text = present.money(row.money_minor, row.currency), tone = tones[row.state],
      state_text = req.t("payout.state." .. row.state) }
  end
  local its = shown(batch, req)
  its.money_text = present.money(total, batch.currency)
  its.mine = batch.state == "created" and batch.created_by == req.account.id
  -- Who made it is not even asked: only another person approves.
  local next_steps = its.mine and { "cancel" } or batch.state == "created" and { "approve", "cancel" }
    or batch.state == "approved" and { "send", "cancel" } or {}
  local buttons = {}
  for i, to in ipairs(next_steps) do
    buttons[i] = { to = to, label = req.t("admin.payouts." .. to), class = to == "cancel" and "danger" or "" }
  end
  local options = {}
  for _, row in ipairs(rows) do
    if #row.moves > 0 then options[#options + 1] = { value = tostring(row.id), label = row.name .. " · " .. row.reference } end
  end
  return req:render("admin/payout_batch", { batch = its, payouts = rows, buttons = buttons, options = options,
    actions = { { value = "hold", label = req.t("admin.payouts.hold") },
      { value = "let_go", label = req.t("admin.payouts.let_go") },
      { value = "settle", label = req.t("admin.payouts.settle") },
      { value = "return", label = req.t("admin.payouts.return") } },
    form = failed or forms.fresh() }, status)
end

local function note(req, action, target, detail)
  audit.write { actor = req.account.id, action = action, target = target, ip = req.remote, detail = detail }
end

local function create(req)
  local values, errors = proof_form:read(req)
  if errors then return list_page(req, forms.failed(values, errors), 422) end
  if not money.proved(req, values.current) then
    return list_page(req, forms.failed(values, { current = req.t("admin.wrong_password") }), 422)
  end
  local id, reason = flow.create(req.account.id)
  if not id then return list_page(req, forms.failed(values, { [""] = req.t(problems[reason]) }), 409) end
  note(req, "payout.batch_created", "payout_batch:" .. id)
  return req:redirect("/admin/payouts/" .. id)
end

-- Keeps a model's earnings out of batches to come, or lets them in again.
local function hold(req)
  local values, errors = hold_form:read(req)
  local function again(what, status) return list_page(req, forms.failed(values, what), status or 422) end
  if errors then return again(errors) end
  if not money.proved(req, values.current) then return again { current = req.t("admin.wrong_password") } end
  local model = models.by_slug(values.model:lower())
  if not model then return again { model = req.t("admin.payouts.no_model") } end
  if model.account_id == req.account.id then req:forbidden(req.t("admin.payouts.own_payout")) end
  db.transaction(function(tx)
    store.set_hold(model.id, values.to == "hold", values.why, req.account.id, tx)
    audit.write({ actor = req.account.id, action = "payout.model_" .. values.to, target = "model:" .. model.id,
      ip = req.remote, detail = { reason = values.why } }, tx)
  end, { retries = 3 })
  return req:redirect("/admin/payouts")
end

local steps = { approve = flow.approve, send = flow.send, cancel = flow.cancel }

local function move_batch(req)
  local batch = batch_of(req)
  local values, errors = batch_form:read(req)
  local function again(what, status) return batch_page(req, batch_of(req), forms.failed(values, what), status) end
  if errors then return again(errors, 422) end
  if not money.proved(req, values.current) then return again({ current = req.t("admin.wrong_password") }, 422) end
  local ok, reason = steps[values.to](batch.id, req.account.id)
  if not ok then return again({ [""] = req.t(problems[reason]) }, 409) end
  note(req, "payout.batch_" .. values.to, "payout_batch:" .. batch.id)
  return req:redirect("/admin/payouts/" .. batch.id)
end

local function move_payout(req)
  local batch = batch_of(req)
  local values, errors = payout_form:read(req)
  local function again(what, status) return batch_page(req, batch_of(req), forms.failed(values, what), status) end
  if errors then return again(errors, 422) end
  if needs_reason[values.action] and values.reason == "" then
    return again({ reason = req.t("admin.payouts.reason_missing") }, 422)
  end
  if not money.proved(req, values.current) then return again({ current = req.t("admin.wrong_password") }, 422) end
  local payout = store.by_id(values.payout)
  if not payout or payout.batch_id ~= batch.id then req:not_found() end
  if payout.account_id == req.account.id then req:forbidden(req.t("admin.payouts.own_payout")) end
  local reason = values.reason ~= "" and values.reason or nil
  local ok, why = flow.act(payout.id, values.action, reason, req.account.id)
  if not ok then return again({ [""] = req.t(problems[why]) }, 409) end
  note(req, "payout." .. values.action, "payout:" .. payout.id, { reason = reason })
  return req:redirect("/admin/payouts/" .. batch.id)
end

-- Bank accounts leave the house with these: each copy is in the audit log.
local function file(req)
  local batch = batch_of(req)
  if batch.state ~= "sent" then req:conflict(req.t("admin.payouts.not_sent")) end
  local body, kind, name
  local sepa = batch.currency == "EUR"
  if req.params.file == "payouts.csv" then
    body, kind, name = files.batch_csv(flow.lines(batch.id)), "text/csv; charset=utf-8", "csv"
  elseif req.params.file == "pain001.xml" and sepa then
    if not flow.payer() then req:conflict(req.t("admin.payouts.no_payer")) end
    body, kind, name = flow.bank_file(batch, batch.sent_at), "application/xml", "xml"
  else
    req:not_found()
  end
  -- The same bytes as were hashed when it was sent, or none: the site's account may have changed since.
  if sepa == (name == "xml") and crypto.hex(crypto.sha256(body)) ~= batch.file_sha256 then
    req:conflict(req.t("admin.payouts.other_file"))
  end
  note(req, "payout.file", "payout_batch:" .. batch.id, { file = req.params.file })
  local answer = req:text_response(body, 200, kind)
  answer.headers["Content-Disposition"] = ('attachment; filename="payouts-%d.%s"'):format(batch.id, name)
  return answer
end

return function(site)
  site:group({ prefix = "/admin", permission = "admin.payouts" }, function(group)
    group:post("/payout-holds", hold)
  end)
  site:group({ prefix = "/admin/payouts", permission = "admin.payouts" }, function(group)
    group:get("/", { name = "admin_payouts" }, function(req) return list_page(req) end)
    group:post("/", create)
    group:get("/:id", function(req) return batch_page(req, batch_of(req)) end)
    group:post("/:id", move_batch)
    group:post("/:id/payout", move_payout)
    group:get("/:id/:file", file)
  end)
end
