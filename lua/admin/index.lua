--- Where staff begin: what waits for them and what was done last.
local audit = require "store.audit"
local finances = require "store.finances"
local format = require "footlight.format"
local live = require "site.live"
local models = require "store.models"
local orders = require "store.orders"
local payments = require "store.payments"
local payouts = require "store.payouts"

local ROWS = 20

return function(site)
  site:group({ prefix = "/admin", permission = "admin.models" }, function(group)
    group:get("/", { name = "admin" }, function(req)
      local t = req.t
      local counts = models.count_by_state()
      local on = 0
      for _, entry in pairs(live.all()) do
        if entry.state == "live" then on = on + 1 end
      end
      local rows = {}
      for i, row in ipairs(audit.latest(ROWS)) do
        rows[i] = { at = format.iso(row.at), at_text = format.datetime(row.at, req.locale),
          actor = row.actor_name or row.via, action = row.action, subject = row.target }
      end
      return req:render("admin/index", {
        audit = rows,
        tiles = {
          { value = (counts.submitted or 0) + (counts.in_review or 0),
            label = t("admin.tile.waiting"), href = "/admin/models?state=submitted" },
          { value = on, label = t("admin.tile.live"), href = "/" },
          { value = counts.approved or 0, label = t("admin.tile.models"),
            href = "/admin/models?state=approved" },
          { value = orders.count_by_state().review or 0, label = t("admin.tile.review"),
            href = "/admin/orders?state=review" },
          { value = select(2, payments.search_disputes { state = "open", limit = 1, offset = 0 }),
            label = t("admin.tile.disputes"), href = "/admin/disputes?state=open" },
          { value = #payouts.eligible(payouts.terms()), label = t("admin.tile.payouts"), href = "/admin/payouts" },
          { value = finances.waiting().quarantine, label = t("finances.tile.quarantine"), href = "/admin/finances" },
        },
      })
    end)
  end)
end
