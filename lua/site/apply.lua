--- Applying as a model. draft → submitted; after changes were asked for or the profile was left as a
-- draft it can be sent again. What identifies a person is sealed before it reaches the database.
local audit = require "store.audit"
local db = require "runtime.db"
local form = require "footlight.form"
local forms = require "site.forms"
local models = require "store.models"
local names = require "site.names"

local AGREEMENT = "2026-11"
local LEAST_AGE, MOST_AGE = 18, 120
local editable = { draft = true, changes_requested = true, expired = true }

local apply_form = form.define {
  { "stage_name", form.text { min = 2, max = 40 } },
  { "slug", form.text { max = 32, check = names.check_slug } },
  { "legal_name", form.text { min = 2, max = 120 } },
  { "born", form.date { messages = { date = "apply.bad_date", required = "apply.bad_date" } } },
  { "bio", form.text { max = 2000, optional = true, lines = true } },
  { "agreement", form.checkbox { optional = true } },
}

-- Full years since a date "1990-12-31" (UTC); negative for one that lies ahead.
local function age_of(date)
  local year, month, day = date:match("^(%d+)-(%d+)-(%d+)$")
  local today = os.date("!*t")
  local age = today.year - tonumber(year)
  local had = today.month > tonumber(month)
    or (today.month == tonumber(month) and today.day >= tonumber(day))
  return had and age or age - 1
end

local function page(req, profile, shown, status)
  local state = profile and profile.state or "draft"
  return req:render("site/apply", {
    form = shown, state = state, state_text = req.t("model.state." .. state),
    tone = state == "approved" and "good" or (state == "rejected" or state == "banned") and "bad"
      or "warn",
    reason = profile and profile.state_reason or nil, editable = editable[state] or false,
  }, status)
end

local function more_errors(req, values, errors, profile)
  local t = req.t
  errors = errors or {}
  local list = errors.list or {}
  local function add(name, key)
    if errors[name] then return end
    errors[name] = t(key)
    list[#list + 1] = { name = name, text = errors[name] }
  end
  if not errors.slug then
    local other = models.by_slug(values.slug)
    if other and (not profile or other.id ~= profile.id) then add("slug", "apply.slug_taken") end
  end
  if not errors.born then
    local age = age_of(values.born)
    if age < 0 or age > MOST_AGE then add("born", "apply.bad_date")
    elseif age < LEAST_AGE then add("born", "apply.too_young") end
  end
  if not values.agreement then add("agreement", "apply.agreement_missing") end
  errors.list = list
  return #list > 0 and errors or nil
end

return function(site)
  site:get("/models/apply", { name = "apply", signed_in = true }, function(req)
    local profile = models.by_account(req.account.id)
    return page(req, profile, forms.fresh(profile and {
      stage_name = profile.stage_name, slug = profile.slug, bio = profile.bio,
    }))
  end)

  site:post("/models/apply", {
    signed_in = true, limit = { name = "apply", count = 20, seconds = 3600, by = "account" },
  }, function(req)
    local profile = models.by_account(req.account.id)
    if profile and not editable[profile.state] then
      return page(req, profile, forms.failed({}, { [""] = req.t("apply.closed") }), 409)
    end
    local values, errors = apply_form:read(req)
    errors = more_errors(req, values, errors, profile)
    if errors then return page(req, profile, forms.failed(values, errors), 422) end
    db.transaction(function(tx)
      local id = models.apply({
        account_id = req.account.id, slug = values.slug, stage_name = values.stage_name,
        bio = values.bio or "", legal_name = values.legal_name, born = values.born,
        agreement_version = AGREEMENT,
      }, tx)
      audit.write({ actor = req.account.id, action = "model.submitted", target = "model:" .. id,
        ip = req.remote }, tx)
    end)
    req:flash(req.t("apply.sent"), "success")
    return req:redirect("/models/apply")
  end)
end
