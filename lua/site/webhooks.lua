--- Where payment providers report: POST /pay/webhooks/<provider>. The adapter proves that the body came
-- from its provider; a 200 is sent only after everything has been committed, so that they send anything
-- else again.
local log = require "runtime.log"
local metrics = require "runtime.metrics"
local orders = require "site.orders"
local providers = require "site.payments"

local BODY_MOST = 256 * 1024

local refused = metrics.counter("footlight_payments_refused_total",
  "Requests to payment webhooks that did not prove where they came from, or made no sense.")

return function(site)
  -- No cookie speaks for a provider, so there is nothing that another site could make it do: no CSRF token.
  site:post("/pay/webhooks/:provider", { csrf = false,
    limit = { name = "webhooks", count = 6000, seconds = 60 } }, function(req)
    local adapter = providers.adapter(req.params.provider)
    if not adapter or not adapter.read then req:not_found() end
    local raw = req:body(BODY_MOST)
    local events, status, reason = adapter.read(req, raw)
    if not events then
      refused:add(1)
      log.warn("payment.refused", { provider = adapter.name, reason = reason, remote = req.remote })
      return req:json_response({ error = reason }, status)
    end
    local results = {}
    for i, event in ipairs(events) do results[i] = orders.apply(adapter.name, event, raw) end
    return req:json_response { results = results }
  end)
end
