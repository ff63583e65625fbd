--- The wallet and what is for sale; orders and the way to where they are paid.
local billing = require "runtime.billing"
local crypto = require "runtime.crypto"
local form = require "footlight.form"
local forms = require "site.forms"
local log = require "runtime.log"
local packs = require "store.packs"
local present = require "site.present"
local promos = require "store.promos"
local providers = require "site.payments"
local router = require "footlight.router"
local statements = require "site.statements"
local store = require "store.orders"

local ORDERS_SHOWN = 20

local buy_form = form.define {
  { "pack", form.text { max = 30, pattern = "^[%w_-]+$" } },
  { "provider", form.text { max = 20, pattern = "^[%l_]+$", optional = true } },
  { "promo", form.text { min = 4, max = 24, pattern = "^[%w-]+$", optional = true,
    messages = { pattern = "promo.unknown", too_short = "promo.unknown" } } },
  { "key", form.text { min = 8, max = 64, pattern = "^[%w_-]+$" } },
}

local function verified(account)
  return account.email_verified_at ~= nil
end

local function best_value(list)
  local best
  for _, pack in ipairs(list) do
    -- Fractions are compared by multiplying: no amount becomes a float.
    if not best or (pack.credits + pack.promo_credits) * best.price_minor
      > (best.credits + best.promo_credits) * pack.price_minor then
      best = pack
    end
  end
  return best
end

local function order_of(req)
  local order = store.by_public_id(req.params.order)
  -- Somebody else's order does not exist for you.
  if not order or order.account_id ~= req.account.id then req:not_found() end
  return order
end

local function with_next(req, path)
  local next_path = req:next_path("/")
  return next_path == "/" and path or path .. "?next=" .. router.encode(next_path, "/")
end

-- What is wrong with a promo code, as people may know it.
local promo_texts = { unknown = "promo.unknown", over = "promo.over", used = "promo.used", spent = "promo.spent" }

local function choices_of(t)
  local list = {}
  for i, adapter in ipairs(providers.enabled()) do
    list[i] = { value = adapter.name, label = adapter.label(t) }
  end
  return list
end

local function page(req, shown, status, promo)
  local account = req.account
  local wallet = billing.wallet(account.id)
  local list = packs.offered()
  local best = best_value(list)
  local packs_shown, rows = {}, {}
  for i, pack in ipairs(list) do
    local bonus = pack.promo_credits + (promo and promos.bonus(promo, pack) or 0)
    packs_shown[i] = {
      id = pack.name, key = crypto.random_token(18), best = pack == best,
      credits_text = present.credits(pack.credits, req.locale), bonus = bonus,
      bonus_text = present.credits(bonus, req.locale),
      price_text = present.money(pack.price_minor, pack.currency),
    }
  end
  for i, order in ipairs(store.of_account(account.id, ORDERS_SHOWN)) do
    rows[i] = present.order(order, req)
  end
  local choices = choices_of(req.t)
  return req:render("site/credits", {
    wallet = wallet, verified = verified(account), packs = packs_shown, orders = rows,
    providers = choices, closed = #choices == 0, form = shown or forms.fresh(),
    balance_text = present.credits(wallet.paid + wallet.bonus, req.locale),
    bonus_text = present.credits(wallet.bonus, req.locale), held_text = present.credits(wallet.held, req.locale),
    next_path = req:next_path("/"),
  }, status)
end

-- Sends the buyer to where the order is paid. The same order leads to the same payment.
local function go_and_pay(req, order)
  local adapter = providers.adapter(order.provider)
  if not adapter then req:fail(503, req.t("credits.closed")) end
  local url, ref = adapter.begin(order, present.site())
  if not url then
    log.warn("payment.not_begun", { order = order.public_id, provider = order.provider, error = tostring(ref) })
    return req:render("site/message", {
      heading = req.t("credits.provider_away"), text = req.t("credits.provider_away_text"),
      link = { href = "/credits", label = req.t("order.again") },
    }, 503)
  end
  if ref and order.provider_ref == nil then store.set_provider_ref(order.id, ref) end
  if order.state == "created" then store.move(order.id, "created", "redirected") end
  if url:find("^/") then return req:redirect(with_next(req, url)) end
  return req:redirect_out(url)
end

return function(site)
  site:get("/credits", { name = "credits", signed_in = true }, function(req)
    local provider, code = req.query.provider, req.query.promo
    local values = { provider = type(provider) == "string" and providers.adapter(provider) and provider or nil }
    if type(code) ~= "string" or code == "" then return page(req, forms.fresh(values)) end
    values.promo = code:upper():sub(1, 24)
    local promo, problem = promos.look(values.promo, req.account.id)
    if not promo then return page(req, forms.failed(values, { promo = req.t(promo_texts[problem]) }), 422) end
    return page(req, forms.fresh(values), 200, promo)
  end)

  site:get("/credits/buy", function(req) return req:redirect("/credits") end)

  site:post("/credits/buy", {
    signed_in = true, limit = { name = "buy", count = 30, seconds = 3600, by = "account" },
  }, function(req)
    if not verified(req.account) then req:forbidden(req.t("credits.unverified")) end
    local values, errors = buy_form:read(req)
    if errors then return page(req, forms.failed(values, errors), 422) end
    local pack = packs.by_name(values.pack)
    if not pack then req:fail(422) end
    local wanted = values.provider ~= "" and values.provider or (providers.enabled()[1] or {}).name
    if not wanted or not providers.adapter(wanted) then req:fail(503, req.t("credits.closed")) end
    -- The price is the pack's, whatever the form says; a key that comes twice is the same order.
    local order, problem = store.create {
      account_id = req.account.id, pack = pack, provider = wanted, idem_key = values.key,
      ip = req.remote, code = values.promo ~= "" and values.promo:upper() or nil,
    }
    if not order then
      return page(req, forms.failed(values, { promo = req.t(promo_texts[problem]) }), 422)
    end
    if order.pack_id ~= pack.id then req:conflict(req.t("credits.repeat_other")) end
    if order.state ~= "created" and order.state ~= "redirected" then
      return req:redirect(with_next(req, "/credits/return/" .. order.public_id))
    end
    return go_and_pay(req, order)
  end)

  site:get("/credits/statement", { name = "statement", signed_in = true }, function(req)
    local month = statements.month(req)
    return req:render("site/statement", { statement = statements.shown(req.account.id, month, req),
      months = statements.months(), month_form = forms.fresh { month = month } })
  end)
  site:get("/credits/statement.csv", { signed_in = true }, function(req)
    return statements.csv(req.account.id, req.account.name, statements.month(req), req)
  end)

  -- On with an order that was left at the payment page.
  site:post("/credits/pay/:order", { signed_in = true,
    limit = { name = "pay", count = 30, seconds = 3600, by = "account" } }, function(req)
    local order = order_of(req)
    if order.state ~= "created" and order.state ~= "redirected" then
      return req:redirect("/credits/return/" .. order.public_id)
    end
    return go_and_pay(req, order)
  end)

  -- Shows how things stand and never credits: anybody can open an address.
  site:get("/credits/return/:order", { name = "order", signed_in = true }, function(req)
    local row = order_of(req)
    local order = present.order(row, req)
    return req:render("site/order", {
      order = order, heading = order.state_text, next_path = req:next_path("/"),
      text = req.t("order.text." .. order.state, { amount = order.credits_text }),
    })
  end)
end
