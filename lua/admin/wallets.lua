--- One wallet: what is in it, whether the ledger agrees, its statement; adjustments and freezing by staff, with
-- a reason and their password, never of their own.
local accounts = require "store.accounts"
local audit = require "store.audit"
local billing = require "runtime.billing"
local crypto = require "runtime.crypto"
local form = require "footlight.form"
local format = require "footlight.format"
local forms = require "site.forms"
local money = require "admin.money"
local present = require "site.present"
local reconciliation = require "store.reconciliation"
local statements = require "site.statements"

local key_field = { "key", form.text { min = 8, max = 64, pattern = "^[%w_-]+$" } }
local current_field = { "current", form.password { max = 128 } }

-- "-12.5" → -12500000; nil for anything else and for nothing.
local function signed(text)
  local minus, rest = text:match "^([+-]?)(%d.*)$"
  if not rest then return nil end
  local amount = format.parse_credits(rest)
  if not amount or amount == 0 then return nil end
  return minus == "-" and -amount or amount
end

local adjust_form = form.define {
  { "amount", form.text { max = 14, check = function(value)
    if not signed(value) then return "wallets.bad_amount" end
  end } },
  { "bucket", form.choice { "paid", "bonus" } },
  { "reason", form.text { min = 3, max = 200 } },
  current_field, key_field,
}
local freeze_form = form.define {
  { "to", form.choice { "freeze", "unfreeze" } },
  { "why", form.text { min = 3, max = 200 } },
  current_field, key_field,
}

local function account_of(req) return accounts.by_name(req.params.name) or req:not_found() end

local function page(req, account, which, shown, status)
  local wallet = billing.wallet(account.id)
  local problem = reconciliation.compare(wallet)
  local month, facts = statements.month(req), {}
  for _, name in ipairs { "paid", "bonus", "held", "debt" } do
    facts[#facts + 1] = { label = req.t("wallets." .. name), text = present.credits(wallet[name], req.locale) }
  end
  local fresh = forms.fresh()
  local own = account.id == req.account.id
  return req:render("admin/wallet", {
    account = account.name, facts = facts, frozen = wallet.frozen, change = wallet.seq, own = own,
    agrees = problem == nil, waiting = problem == "waiting", problem = problem, key = crypto.random_token(18),
    statement = statements.shown(account.id, month, req), months = statements.months(),
    month_form = forms.fresh { month = month }, form = shown or fresh,
    adjust_form = which == "adjust" and shown or fresh, freeze_form = which == "freeze" and shown or fresh,
    buckets = { { value = "paid", label = req.t "wallets.paid" }, { value = "bonus", label = req.t "wallets.bonus" } },
  }, status)
end

-- The form, read and proved; or nil and the page that says what is wrong.
local function read(req, account, definition, which)
  local values, errors = definition:read(req)
  local function again(problems, status)
    return nil, page(req, account, which, forms.failed(values, problems), status or 422)
  end
  if errors then return again(errors) end
  if not money.proved(req, values.current) then return again { current = req.t "admin.wrong_password" } end
  if account.id == req.account.id then req:forbidden(req.t "wallets.own") end
  return values, again
end

local function done(req, account, wallet, action, detail)
  if not wallet.repeated then
    audit.write { actor = req.account.id, action = action, target = "account:" .. account.id, ip = req.remote,
      detail = detail }
  end
  req:flash(req.t "wallets.done", "success")
  return req:redirect("/admin/wallets/" .. account.name)
end

local function adjust(req)
  local account = account_of(req)
  local values, again = read(req, account, adjust_form, "adjust")
  if not values then return again end
  local amount = signed(values.amount)
  local wallet, reason = billing.adjust { op = ("staff:%d:%s"):format(req.account.id, values.key), account = account.id,
    amount = amount, bucket = values.bucket, reason = values.reason, actor = "account:" .. req.account.id }
  if not wallet then
    if reason == "duplicate" then req:conflict(req.t "credits.repeat_other") end
    return select(2, again({ amount = req.t "wallets.no_funds" }, 409))
  end
  return done(req, account, wallet, "wallet.adjust", { amount = amount, bucket = values.bucket, reason = values.reason })
end

local function freeze(req)
  local account = account_of(req)
  local values, again = read(req, account, freeze_form, "freeze")
  if not values then return again end
  local ok, wallet = pcall(billing.freeze, { op = ("staff:%d:%s"):format(req.account.id, values.key),
    account = account.id, frozen = values.to == "freeze", reason = values.why, actor = "account:" .. req.account.id })
  if not ok then
    if tostring(wallet):find("DUPLICATE", 1, true) then req:conflict(req.t "credits.repeat_other") end
    error(wallet, 0)
  end
  return done(req, account, wallet, "wallet." .. values.to, { reason = values.why })
end

return function(site)
  site:group({ prefix = "/admin/wallets", permission = "admin.ledger" }, function(group)
    group:get("/", function(req)
      local name = (type(req.query.name) == "string" and req.query.name or ""):match "^%s*(.-)%s*$"
      local account = #name <= 60 and accounts.by_name(name:lower())
      if account then return req:redirect("/admin/wallets/" .. account.name) end
      req:flash(req.t "wallets.unknown", "error")
      return req:redirect "/admin/finances"
    end)
    group:get("/:name", { name = "admin_wallet" }, function(req) return page(req, account_of(req)) end)
    group:get("/:name/statement.csv", function(req)
      local account = account_of(req)
      audit.write { actor = req.account.id, action = "wallet.export", target = "account:" .. account.id, ip = req.remote }
      return statements.csv(account.id, account.name, statements.month(req), req)
    end)
    group:post("/:name/adjust", adjust)
    group:post("/:name/freeze", freeze)
  end)
end
