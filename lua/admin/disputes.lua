--- Disputes: what is due first, and the evidence that staff write for the provider.
local audit = require "store.audit"
local db = require "runtime.db"
local form = require "footlight.form"
local forms = require "site.forms"
local money = require "admin.money"
local pagination = require "footlight.pagination"
local payments = require "store.payments"
local present = require "site.present"

local states = { "open", "won", "lost" }
local tones = { open = "warn", won = "good", lost = "bad" }

local evidence_form = form.define {
  { "evidence", form.text { min = 10, max = 5000, lines = true } },
}

local function shown(row, req)
  return {
    id = row.id, order = row.order_public_id, account_name = row.account_name, provider = row.provider,
    ref = row.provider_ref, reason = row.reason, evidence = row.evidence, state = row.state,
    state_text = req.t("dispute.state." .. row.state), tone = tones[row.state],
    amount_text = present.money(row.amount_minor, row.currency),
    due = row.due_by and money.time(row.due_by, req), at = money.time(row.created_at, req),
  }
end

local function dispute_of(req)
  local id = req.params.id:find("^%d+$") and #req.params.id < 16 and math.tointeger(tonumber(req.params.id))
  return id and payments.dispute(id) or req:not_found()
end

local function page(req, row, failed, status)
  return req:render("admin/dispute", {
    dispute = shown(row, req), form = failed or forms.fresh { evidence = row.evidence },
  }, status)
end

return function(site)
  site:group({ prefix = "/admin/disputes", permission = "admin.orders" }, function(group)
    group:get("/", { name = "admin_disputes" }, function(req)
      local state = money.choice(req.query.state, states)
      local pages = pagination.read(req, { size = 50, most = 200 })
      local rows, total = payments.search_disputes { state = state, limit = pages.size, offset = pages.offset }
      pages:finish(total)
      local list = {}
      for i, row in ipairs(rows) do list[i] = shown(row, req) end
      return req:render("admin/disputes", {
        disputes = list, states = money.options(states, "dispute.state.", req),
        pager = pages.pages > 1 and pages or nil, filter_form = forms.fresh { state = state or "" },
      })
    end)
    group:get("/:id", function(req) return page(req, dispute_of(req)) end)
    group:post("/:id", function(req)
      local row = dispute_of(req)
      local values, errors = evidence_form:read(req)
      if errors then return page(req, row, forms.failed(values, errors), 422) end
      local saved = db.transaction(function(tx)
        if not payments.set_evidence(row.id, values.evidence, tx) then return false end
        audit.write({ actor = req.account.id, action = "dispute.evidence",
          target = "order:" .. row.order_public_id, ip = req.remote }, tx)
        return true
      end)
      -- Nothing changed: it is over, or the text is the same as before.
      if not saved and payments.dispute(row.id).state ~= "open" then
        return page(req, dispute_of(req), forms.failed(values, { [""] = req.t("form.changed") }), 409)
      end
      req:flash(req.t("admin.disputes.saved"), "success")
      return req:redirect("/admin/disputes/" .. row.id)
    end)
  end)
end
