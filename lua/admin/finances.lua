--- Money as a whole: what waits for a person, what everybody has, what a month moved; and the ledger with its
-- filters, one transaction with its legs, and all of it as CSV.
local accounts = require "store.accounts"
local audit = require "store.audit"
local files = require "site.payouts.files"
local finances = require "store.finances"
local format = require "footlight.format"
local forms = require "site.forms"
local models = require "store.models"
local money = require "admin.money"
local pagination = require "footlight.pagination"
local periods = require "store.ledger_periods"
local present = require "site.present"
local quarantine = require "store.ledger_quarantine"
local statements = require "site.statements"

local EXPORTED = 10000
local SHOWN = 20

-- What is in the currency of a wallet, as people read it.
local function sum_of(amount, currency, req)
  if currency == "CRD" then return present.credits(amount, req.locale) end
  return (amount < 0 and "-" or "") .. present.money(math.abs(amount), currency)
end

local tiles = {
  { "review", "/admin/orders?state=review" }, { "uncredited", "/admin/orders?state=paid" },
  { "disputes", "/admin/disputes?state=open" }, { "refunds", "/admin/orders?state=refund_pending" },
  { "batches", "/admin/payouts" }, { "quarantine", "#quarantine-title" },
}

local function overview(req)
  local t = req.t
  local month = statements.month(req)
  local from, to = periods.bounds(month)
  local waiting, shown = finances.waiting(), { tiles = {}, balances = {}, types = {}, sales = {}, closed = {}, aside = {} }
  for i, tile in ipairs(tiles) do
    shown.tiles[i] = { value = waiting[tile[1]], label = t("finances.tile." .. tile[1]), href = tile[2] }
  end
  for i, row in ipairs(finances.balances()) do
    shown.balances[i] = { owner = t("finances.owner." .. row.owner_type), kind = t("ledger.kind." .. row.kind),
      wallets = row.wallets, text = sum_of(row.balance, row.currency, req), currency = row.currency }
  end
  for i, row in ipairs(finances.by_type(from, to)) do
    shown.types[i] = { type = row.type, what = t("ledger.type." .. row.type), count = row.count }
    for _, side in ipairs { "viewers", "models", "site", "outside" } do
      shown.types[i][side] = present.credits(row[side], req.locale)
    end
  end
  for i, row in ipairs(finances.sales(from, to)) do
    shown.sales[i] = { provider = row.provider, count = row.count, money = present.money(row.minor, row.currency),
      credits = present.credits(row.credits, req.locale), refunded = present.money(row.refunded, row.currency) }
  end
  for i, row in ipairs(periods.list(SHOWN)) do
    shown.closed[i] = { month = row.month, count = row.txns, at = money.time(row.closed_at, req), by = row.actor }
  end
  for i, row in ipairs(quarantine.list(SHOWN)) do
    shown.aside[i] = { id = row.id, at = money.time(row.created_at, req), reason = row.reason }
  end
  shown.month, shown.months = month, statements.months()
  shown.filter_form = forms.fresh { month = month }
  return req:render("admin/finances", shown)
end

local function day(text)
  local year, month, number = (type(text) == "string" and text or ""):match "^(%d%d%d%d)%-(%d%d)%-(%d%d)$"
  if not year then return nil end
  local time = os.time { year = tonumber(year), month = tonumber(month), day = tonumber(number), hour = 12 }
  return os.date("%Y-%m-%d", time) == text and text or nil
end

-- What the query asks for: the search as the store takes it, and the values that the form shows.
local function filters(req)
  local query = (req.query.q or ""):match "^%s*(.-)%s*$"
  if (utf8.len(query) or math.huge) > 160 then req:bad_request "the query is too long" end
  local types = finances.types()
  local wanted = { type = money.choice(req.query.type, types), from = day(req.query.from), to = day(req.query.to) }
  local values = { q = query, type = wanted.type or "", from = wanted.from, to = wanted.to }
  -- The last day counts, too.
  if wanted.to then wanted.to = wanted.to .. " 23:59:59.999999" end
  if query ~= "" then
    local account, model = accounts.by_name(query:lower()), models.by_slug(query:lower())
    if account then wanted.account = account.id
    elseif model then wanted.model = model.id
    else wanted.text = query end
  end
  return wanted, values, types
end

local function ledger(req)
  local wanted, values, types = filters(req)
  local pages = pagination.read(req, { size = 50, most = 200 })
  wanted.limit, wanted.offset = pages.size, pages.offset
  local found, total = finances.search(wanted)
  pages:finish(total)
  local rows, options = {}, { { value = "", label = req.t "ledger.any" } }
  for _, type in ipairs(types) do options[#options + 1] = { value = type, label = req.t("ledger.type." .. type) } end
  for i, row in ipairs(found) do
    rows[i] = { id = row.id, at = money.time(row.occurred_at, req), what = req.t("ledger.type." .. row.type),
      account = row.account_name, actor = row.actor_name or row.actor,
      note = row.reason or row.model or row.ref_id and row.ref_type .. " " .. row.ref_id,
      amount_text = row.paid and present.credits(row.paid + row.bonus - row.debt, req.locale) or "" }
  end
  local export = pages:url(1):gsub("^/admin/ledger", "/admin/ledger.csv")
  return req:render("admin/ledger", { rows = rows, types = options, filter_form = forms.fresh(values), q = values.q,
    from = values.from, to = values.to, total = total, export = export, pager = pages.pages > 1 and pages or nil })
end

local function export(req)
  local wanted = filters(req)
  wanted.limit, wanted.offset = EXPORTED, 0
  local found, total = finances.search(wanted)
  if total > EXPORTED then req:conflict(req.t("ledger.too_many", { count = EXPORTED })) end
  local exact = statements.exact
  local rows = { { "id", "time", "type", "key", "account", "reference", "actor", "reason", "paid", "bonus", "debt" } }
  for _, row in ipairs(found) do
    rows[#rows + 1] = { row.id, format.iso(row.occurred_at), row.type, row.idem_key, row.account_name or "",
      row.ref_id or "", row.actor, row.reason or "", row.paid and exact(row.paid) or "",
      row.bonus and exact(row.bonus) or "", row.debt and exact(row.debt) or "" }
  end
  audit.write { actor = req.account.id, action = "ledger.export", target = "ledger", ip = req.remote,
    detail = { rows = #found } }
  local answer = req:text_response(files.csv(rows, true), 200, "text/csv; charset=utf-8")
  answer.headers["Content-Disposition"] = 'attachment; filename="ledger.csv"'
  return answer
end

local function entry(req)
  local id = req.params.id:find "^%d+$" and #req.params.id < 16 and math.tointeger(tonumber(req.params.id))
  local row = id and finances.txn(id) or req:not_found()
  local legs = {}
  for i, leg in ipairs(row.legs) do
    legs[i] = { owner = leg.owner or req.t("finances.owner." .. leg.owner_type), kind = req.t("ledger.kind." .. leg.kind),
      amount = sum_of(leg.amount, leg.currency, req), after = sum_of(leg.balance_after, leg.currency, req), seq = leg.seq }
  end
  return req:render("admin/ledger_entry", { txn = {
    id = row.id, key = row.idem_key, what = req.t("ledger.type." .. row.type), actor = row.actor_name or row.actor,
    reason = row.reason, model = row.model, account = row.account_name, change = row.wseq, ref = row.ref_id, ref_type = row.ref_type,
    at = money.time(row.occurred_at, req), booked = money.time(row.created_at, req), reverses = row.reverses_id,
    reversed_by = row.reversed_by, stream = row.shard and ("%d/%d: %d-%d"):format(row.shard, row.epoch, row.stream_ms, row.stream_n),
  }, legs = legs })
end

return function(site)
  site:group({ prefix = "/admin", permission = "admin.ledger" }, function(group)
    group:get("/finances", { name = "admin_finances" }, overview)
    group:get("/ledger", { name = "admin_ledger" }, ledger)
    group:get("/ledger.csv", export)
    group:get("/ledger/:id", entry)
  end)
end
