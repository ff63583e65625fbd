--- Orders for staff: search, what providers told about each, refunds, and decisions about those under
-- review. Whatever moves money asks for the password again and is in the audit log.
local audit = require "store.audit"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local files = require "site.payouts.files"
local form = require "footlight.form"
local format = require "footlight.format"
local forms = require "site.forms"
local log = require "runtime.log"
local money = require "admin.money"
local orders = require "site.orders"
local pagination = require "footlight.pagination"
local payments = require "store.payments"
local present = require "site.present"
local refunds = require "site.refunds"
local statements = require "site.statements"
local store = require "store.orders"

local EXPORTED = 10000

local states = { "created", "redirected", "pending", "paid", "credited", "review", "failed", "expired",
  "cancelled", "refund_pending", "refunded", "disputed", "charged_back" }

local refund_form = form.define {
  { "amount", form.text { max = 12, check = function(value)
    if not money.parse(value) then return "admin.orders.bad_amount" end
  end } },
  { "reason", form.text { min = 3, max = 200 } },
  { "current", form.password { max = 128 } },
  { "key", form.text { min = 8, max = 64, pattern = "^[%w_-]+$" } },
}
local review_form = form.define {
  { "to", form.choice { "paid", "cancelled" } },
  { "reason", form.text { min = 3, max = 200 } },
  { "current", form.password { max = 128 } },
}

local refund_tones = { requested = "warn", taken = "warn", sent = "warn", done = "good", refused = "bad" }
local refusals = { not_credited = "admin.orders.not_credited", too_much = "admin.orders.too_much" }

local function order_of(req) return store.by_public_id(req.params.order) or req:not_found() end

local function page(req, order, which, shown, status)
  local t = req.t
  local gone = payments.refunded(order.id)
  local left = order.price_minor - gone.amount_minor
  local refund_rows, events = {}, {}
  for i, row in ipairs(payments.refunds_of(order.id)) do
    refund_rows[i] = {
      at = money.time(row.created_at, req), by = row.created_by_name or t("admin.orders.by_provider"),
      amount_text = present.money(row.amount_minor, order.currency), reason = row.reason,
      credits_text = present.credits(row.credits + row.promo_credits, req.locale),
      state_text = t("refund.state." .. row.state), tone = refund_tones[row.state], note = row.state_reason,
    }
  end
  for i, row in ipairs(payments.events_of(order.id)) do
    events[i] = { at = money.time(row.received_at, req), id = row.event_id, type = row.type or "",
      result = row.result or "" }
  end
  local fresh = forms.fresh()
  return req:render("admin/order", {
    order = present.order(order, req), account_name = order.account_name, provider = order.provider,
    provider_ref = order.provider_ref, payment_ref = order.payment_ref, note = order.state_reason,
    refunds = refund_rows, events = events, key = crypto.random_token(18), left = money.typed(left),
    may_refund = order.state == "credited" and left > 0, under_review = order.state == "review",
    refund_form = which == "refund" and shown or fresh, review_form = which == "review" and shown or fresh,
    form = shown or fresh,
  }, status)
end

local function refund(req)
  local order = order_of(req)
  local t = req.t
  local values, errors = refund_form:read(req)
  local function again(problems, status)
    return page(req, order, "refund", forms.failed(values, problems), status or 422)
  end
  if errors then return again(errors) end
  if not money.proved(req, values.current) then return again { current = t("admin.wrong_password") } end
  local row, reason = db.transaction(function(tx)
    local made, why = refunds.request({ order = order.public_id, amount = money.parse(values.amount),
      key = values.key, reason = values.reason, actor = req.account.id }, tx)
    if made and made.state == "requested" then
      audit.write({ actor = req.account.id, action = "order.refund", target = "order:" .. order.public_id,
        ip = req.remote, detail = { amount = made.amount_minor, reason = values.reason } }, tx)
    end
    return made, why
  end, { retries = 3 })
  if not row then
    if reason == "other_content" then req:conflict(t("credits.repeat_other")) end
    return again({ amount = t(refusals[reason]) }, 409)
  end
  -- It is written down: what does not succeed now, jobs goes on with.
  local ok, why = pcall(function()
    refunds.step(row.id)
    orders.replay(order.public_id)
  end)
  if not ok then log.warn("refund.waits", { refund = row.id, error = tostring(why) }) end
  local state = payments.refund(row.id).state
  req:flash(t("refund.state." .. state), state == "refused" and "error" or "success")
  return req:redirect("/admin/orders/" .. order.public_id)
end

local function review(req)
  local order = order_of(req)
  local t = req.t
  local values, errors = review_form:read(req)
  local function again(problems, status)
    return page(req, order, "review", forms.failed(values, problems), status or 422)
  end
  if errors then return again(errors) end
  if not money.proved(req, values.current) then return again { current = t("admin.wrong_password") } end
  if order.account_id == req.account.id then req:forbidden(t("admin.orders.own")) end
  local moved = order.state == "review" and db.transaction(function(tx)
    if not orders.decide(order, values.to, values.reason, tx) then return false end
    audit.write({ actor = req.account.id, action = "order." .. values.to,
      target = "order:" .. order.public_id, ip = req.remote, detail = { reason = values.reason } }, tx)
    return true
  end)
  if not moved then return page(req, order_of(req), "review", forms.failed(values, { [""] = t("form.changed") }), 409) end
  if values.to == "paid" then
    local ok, why = pcall(function()
      orders.settle(store.by_public_id(order.public_id))
      orders.replay(order.public_id)
    end)
    if not ok then log.warn("an order waits for its credits", { order = order.public_id, error = tostring(why) }) end
  end
  req:flash(t("admin.orders.decided"), "success")
  return req:redirect("/admin/orders/" .. order.public_id)
end

local function filters(req)
  local query = (req.query.q or ""):match("^%s*(.-)%s*$")
  if (utf8.len(query) or math.maxinteger) > 100 then req:bad_request("the query is too long") end
  return query, money.choice(req.query.state, states)
end

local function export(req)
  local query, state = filters(req)
  local found, total = store.search { query = query, state = state, limit = EXPORTED, offset = 0 }
  if total > EXPORTED then req:conflict(req.t("ledger.too_many", { count = EXPORTED })) end
  local rows = { { "order", "account", "created", "paid", "state", "provider", "payment", "credits", "bonus", "price",
    "currency" } }
  for _, row in ipairs(found) do
    rows[#rows + 1] = { row.public_id, row.account_name, format.iso(row.created_at), row.paid_at and format.iso(row.paid_at)
      or "", row.state, row.provider, row.payment_ref or "", statements.exact(row.credits),
      statements.exact(row.promo_credits), money.typed(row.price_minor), row.currency }
  end
  audit.write { actor = req.account.id, action = "order.export", target = "orders", ip = req.remote,
    detail = { rows = #found } }
  local answer = req:text_response(files.csv(rows, true), 200, "text/csv; charset=utf-8")
  answer.headers["Content-Disposition"] = 'attachment; filename="orders.csv"'
  return answer
end

return function(site)
  site:group({ prefix = "/admin", permission = "admin.orders" }, function(group)
    group:get("/orders.csv", export)
  end)
  site:group({ prefix = "/admin/orders", permission = "admin.orders" }, function(group)
    group:get("/", { name = "admin_orders" }, function(req)
      local query, state = filters(req)
      local pages = pagination.read(req, { size = 50, most = 200 })
      local rows, total = store.search { query = query, state = state, limit = pages.size, offset = pages.offset }
      pages:finish(total)
      local list = {}
      for i, row in ipairs(rows) do
        list[i] = present.order(row, req)
        list[i].account_name, list[i].provider = row.account_name, row.provider
      end
      return req:render("admin/orders", {
        q = query, states = money.options(states, "order.state.", req), orders = list,
        export = pages:url(1):gsub("^/admin/orders", "/admin/orders.csv"),
        pager = pages.pages > 1 and pages or nil, filter_form = forms.fresh { state = state or "" },
      })
    end)
    group:get("/:order", { name = "admin_order" }, function(req) return page(req, order_of(req)) end)
    group:post("/:order/refund", refund)
    group:post("/:order/review", review)
  end)
end
