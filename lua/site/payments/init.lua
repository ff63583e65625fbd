--- Payment providers. An adapter is a table of:
--
--   name                    as in orders.provider and in /pay/webhooks/<name>
--   label(t)                what buyers read
--   begin(order, site)      the address where the buyer pays, and the provider's name of it if it has one;
--                           or nil and why not. Repeats give the same payment.
--   read(req, raw)          the events in a request of the provider, each as site/orders.lua takes it; or nil,
--                           the status to answer with, and why. Nil for adapters that report otherwise.
--   refund(order, refund)   "done", its reference | "sent" | "refused", why; or nil, why: nobody knows
--   payments(from, to)      its books, see site/payments/reconcile.lua; nil for adapters without
--   origin()                where its page is, for the Content-Security-Policy; or nil
local config = require "runtime.config"

local payments = {}

local adapters = {
  sandbox = require "site.payments.sandbox",
  stripe = require "site.payments.stripe",
  gateway = require "site.payments.gateway",
}

--- Those that the site takes money by, in the order of the setting.
function payments.enabled()
  local list = {}
  for name in config.get("payments.providers", "sandbox"):gmatch("[%w_]+") do
    list[#list + 1] = adapters[name]
  end
  return list
end

--- An adapter that is switched on, or nil.
function payments.adapter(name)
  for _, adapter in ipairs(payments.enabled()) do
    if adapter.name == name then return adapter end
  end
end

--- The origins of their payment pages, separated by spaces; nil if all are pages of our own.
function payments.origins()
  local list = {}
  for _, adapter in ipairs(payments.enabled()) do
    list[#list + 1] = adapter.origin and adapter.origin() or nil
  end
  return #list > 0 and table.concat(list, " ") or nil
end

return payments
