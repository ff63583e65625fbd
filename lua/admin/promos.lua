--- Promo codes: what they give, what they may cost in all, and how far that is used up.
local audit = require "store.audit"
local db = require "runtime.db"
local form = require "footlight.form"
local forms = require "site.forms"
local money = require "admin.money"
local present = require "site.present"
local promos = require "store.promos"

local CREDIT = 1000000
local SHOWN = 200

local promo_form = form.define {
  { "code", form.text { min = 4, max = 24, pattern = "^[%w-]+$" } },
  { "credits", form.integer { min = 0, max = 10000 } },
  { "percent", form.integer { min = 0, max = 100 } },
  { "budget", form.integer { min = 1, max = 100000000 } },
  { "per_account", form.integer { min = 1, max = 1000 } },
  { "days", form.integer { min = 1, max = 730 } },
}

local function page(req, shown, status)
  local t = req.t
  local rows = {}
  for i, row in ipairs(promos.all(SHOWN)) do
    local running = row.running == 1
    rows[i] = {
      id = row.id, code = row.code, running = running, uses = row.uses, per_account = row.per_account,
      gives = row.bonus_bp > 0 and row.bonus_credits > 0
        and t("admin.promos.gives_both", { credits = present.credits(row.bonus_credits, req.locale),
          percent = row.bonus_bp // 100 })
        or row.bonus_bp > 0 and t("admin.promos.gives_percent", { percent = row.bonus_bp // 100 })
        or t("admin.promos.gives_credits", { credits = present.credits(row.bonus_credits, req.locale) }),
      used_text = present.credits(row.used, req.locale), budget_text = present.credits(row.budget, req.locale),
      ends = money.time(row.ends_at, req), tone = running and "good" or "soft",
      state_text = running and t("admin.promos.running") or t("admin.promos.over"),
    }
  end
  return req:render("admin/promos", { promos = rows,
    form = shown or forms.fresh { credits = "0", percent = "10", per_account = "1", days = "30" } }, status)
end

local function create(req)
  local t = req.t
  local values, errors = promo_form:read(req)
  if errors then return page(req, forms.failed(values, errors), 422) end
  if values.credits + values.percent == 0 then
    return page(req, forms.failed(values, { credits = t("admin.promos.nothing") }), 422)
  end
  values.code = values.code:upper()
  local ok, reason = pcall(db.transaction, function(tx)
    promos.create({ code = values.code, bonus_credits = values.credits * CREDIT,
      bonus_bp = values.percent * 100, budget = values.budget * CREDIT, per_account = values.per_account,
      days = values.days, created_by = req.account.id }, tx)
    audit.write({ actor = req.account.id, action = "promo.created", target = "promo:" .. values.code,
      ip = req.remote, detail = { credits = values.credits, percent = values.percent,
        budget = values.budget } }, tx)
  end)
  if not ok then
    if type(reason) == "table" and reason.duplicate then
      return page(req, forms.failed(values, { code = t("admin.promos.taken") }), 422)
    end
    error(reason, 0)
  end
  req:flash(t("admin.promos.created", { code = values.code }), "success")
  return req:redirect("/admin/promos")
end

local function stop(req)
  local id = req.params.id:find("^%d+$") and #req.params.id < 16 and math.tointeger(tonumber(req.params.id))
  if not id then req:not_found() end
  db.transaction(function(tx)
    if promos.stop(id, tx) then
      audit.write({ actor = req.account.id, action = "promo.stopped", target = "promo:" .. id,
        ip = req.remote }, tx)
    end
  end)
  return req:redirect("/admin/promos")
end

return function(site)
  site:group({ prefix = "/admin/promos", permission = "admin.promos" }, function(group)
    group:get("/", { name = "admin_promos" }, function(req) return page(req) end)
    group:post("/", create)
    group:post("/:id/stop", stop)
  end)
end
