--- The checkout page of the sandbox provider, where the outcome of the payment is chosen.
local crypto = require "runtime.crypto"
local form = require "footlight.form"
local orders = require "site.orders"
local present = require "site.present"
local providers = require "site.payments"
local router = require "footlight.router"
local store = require "store.orders"

-- outcome → the events that the provider then reports, one after the other. `part`: of the price.
local outcomes = {
  { id = "paid", events = { { type = "paid" } } },
  { id = "declined", events = { { type = "failed" } } },
  { id = "cancelled", events = { { type = "cancelled" } } },
  { id = "pending", events = { { type = "pending" } } },
  { id = "expired", events = { { type = "expired" } } },
  { id = "wrong_amount", events = { { type = "paid", add = -1 } } },
  { id = "wrong_currency", events = { { type = "paid", currency = "XTS" } } },
  { id = "twice", events = { { type = "paid" }, { type = "paid", again = true } } },
  { id = "late", events = { { type = "expired" }, { type = "paid" } } },
  { id = "refunded", events = { { type = "paid" }, { type = "refunded" } } },
  { id = "disputed", events = { { type = "paid" }, { type = "disputed" } } },
  { id = "dispute_won", events = { { type = "paid" }, { type = "disputed" }, { type = "won" } } },
  { id = "charged_back", events = { { type = "paid" }, { type = "disputed" }, { type = "lost" } } },
  { id = "reordered", events = { { type = "lost" }, { type = "disputed" }, { type = "paid" } } },
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

local function order_of(req)
  local order = store.by_public_id(req.params.order)
  if not order or order.account_id ~= req.account.id or order.provider ~= "sandbox"
    or not providers.adapter "sandbox" then
    req:not_found()
  end
  return order
end

local function return_page(req, order)
  local path, next_path = "/credits/return/" .. order.public_id, req:next_path("/")
  if next_path ~= "/" then path = path .. "?next=" .. router.encode(next_path, "/") end
  return req:redirect(path)
end

return function(site)
  site:group({ prefix = "/sandbox", signed_in = true }, function(group)
    group:get("/pay/:order", function(req)
      local order = order_of(req)
      if order.state ~= "created" and order.state ~= "redirected" and order.state ~= "pending" then
        return return_page(req, order)
      end
      local choices = {}
      for i, outcome in ipairs(outcomes) do
        choices[i] = { id = outcome.id, label = req.t("sandbox." .. outcome.id) }
      end
      return req:render("site/sandbox", {
        order = present.order(order, req), outcomes = choices, next_path = req:next_path("/"),
      })
    end)

    group:post("/pay/:order", function(req)
      local order = order_of(req)
      local values, errors = sandbox_form:read(req)
      if errors then req:fail(422) end
      report(order, outcome_by_id[values.outcome])
      return return_page(req, order)
    end)
  end)
end
