--- The wallet and what is for sale; orders; the sandbox provider with its own checkout page.
local billing = require "runtime.billing"
local crypto = require "runtime.crypto"
local form = require "footlight.form"
local orders = require "site.orders"
local packs = require "store.packs"
local present = require "site.present"
local router = require "footlight.router"
local store = require "store.orders"

local ORDERS_SHOWN = 20

local buy_form = form.define {
  { "pack", form.text { max = 30, pattern = "^[%w_-]+$" } },
  { "key", form.text { min = 8, max = 64, pattern = "^[%w_-]+$" } },
}

local function verified(account)
  return account.email_verified_at ~= nil
end

local function best_value(list)
  local best, most
  for _, pack in ipairs(list) do
    local value = (pack.credits + pack.promo_credits) / pack.price_minor
    if not most or value > most then best, most = pack, value end
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

-- ---- the sandbox ----------------------------------------------------------------------------------

-- outcome → the events that the provider then reports, one after the other.
local outcomes = {
  { id = "paid", events = { { type = "paid" } } },
  { id = "declined", events = { { type = "failed" } } },
  { id = "cancelled", events = { { type = "cancelled" } } },
  { id = "pending", events = { { type = "pending" } } },
  { id = "expired", events = { { type = "expired" } } },
  { id = "wrong_amount", events = { { type = "paid", add = -1 } } },
  { id = "wrong_currency", events = { { type = "paid", currency = "XTS" } } },
  { id = "twice", events = { { type = "paid" }, { type = "paid", again = true } } },
  { id = "disputed", events = { { type = "paid" }, { type = "disputed" } } },
}
local outcome_by_id, outcome_ids = {}, {}
for i, outcome in ipairs(outcomes) do
  outcome_by_id[outcome.id] = outcome
  outcome_ids[i] = outcome.id
end
local sandbox_form = form.define { { "outcome", form.choice(outcome_ids) } }

local function report(order, outcome)
  local last
  for i, event in ipairs(outcome.events) do
    local id = event.again and last or ("%s-%d-%s"):format(order.public_id, i, crypto.random_token(9))
    last = id
    orders.apply("sandbox", {
      id = id, type = event.type, order = order.public_id,
      amount = order.price_minor + (event.add or 0), currency = event.currency or order.currency,
    })
  end
end

return function(site)
  site:get("/credits", { name = "credits", signed_in = true }, function(req)
    local account = req.account
    local wallet = billing.wallet(account.id)
    local list = packs.offered()
    local best = best_value(list)
    local shown, rows = {}, {}
    for i, pack in ipairs(list) do
      shown[i] = {
        id = pack.name, key = crypto.random_token(18), best = pack == best,
        credits_text = present.credits(pack.credits, req.locale), bonus = pack.promo_credits,
        bonus_text = present.credits(pack.promo_credits, req.locale),
        price_text = present.money(pack.price_minor, pack.currency),
      }
    end
    for i, order in ipairs(store.of_account(account.id, ORDERS_SHOWN)) do
      rows[i] = present.order(order, req)
    end
    return req:render("site/credits", {
      wallet = wallet, verified = verified(account), packs = shown, orders = rows,
      balance_text = present.credits(wallet.paid + wallet.bonus, req.locale),
      bonus_text = present.credits(wallet.bonus, req.locale), held_text = present.credits(wallet.held, req.locale),
      next_path = req:next_path("/"),
    })
  end)

  site:get("/credits/buy", function(req) return req:redirect("/credits") end)

  site:post("/credits/buy", {
    signed_in = true, limit = { name = "buy", count = 30, seconds = 3600, by = "account" },
  }, function(req)
    if not verified(req.account) then req:forbidden(req.t("credits.unverified")) end
    local values, errors = buy_form:read(req)
    if errors then req:fail(422) end
    local pack = packs.by_name(values.pack)
    if not pack or not pack.offered then req:fail(422) end
    -- The price is the pack's, whatever the form says; a key that comes twice is the same order.
    local order = store.create {
      account_id = req.account.id, pack = pack, provider = "sandbox", idem_key = values.key,
      ip = req.remote,
    }
    if order.pack_id ~= pack.id then req:conflict(req.t("credits.repeat_other")) end
    if order.state == "created" then store.move(order.id, "created", "redirected") end
    return req:redirect(with_next(req, "/sandbox/pay/" .. order.public_id))
  end)

  site:get("/sandbox/pay/:order", { signed_in = true }, function(req)
    local order = order_of(req)
    if order.state ~= "created" and order.state ~= "redirected" and order.state ~= "pending" then
      return req:redirect(with_next(req, "/credits/return/" .. order.public_id))
    end
    local choices = {}
    for i, outcome in ipairs(outcomes) do
      choices[i] = { id = outcome.id, label = req.t("sandbox." .. outcome.id) }
    end
    return req:render("site/sandbox", {
      order = present.order(order, req), outcomes = choices, next_path = req:next_path("/"),
    })
  end)

  site:post("/sandbox/pay/:order", { signed_in = true }, function(req)
    local order = order_of(req)
    local values, errors = sandbox_form:read(req)
    if errors then req:fail(422) end
    report(order, outcome_by_id[values.outcome])
    return req:redirect(with_next(req, "/credits/return/" .. order.public_id))
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
