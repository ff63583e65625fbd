--- Deciding about models: a list to search, and one page each. Every move names the version that its
-- maker saw, writes an audit row and a mail, and nobody decides about their own profile.
local audit = require "store.audit"
local db = require "runtime.db"
local form = require "footlight.form"
local format = require "footlight.format"
local forms = require "site.forms"
local mail = require "footlight.mail"
local models = require "store.models"
local pagination = require "footlight.pagination"
local present = require "site.present"

local states = { "draft", "submitted", "in_review", "changes_requested", "approved", "rejected",
  "suspended", "expired", "banned", "closed" }
local is_state = {}
for _, state in ipairs(states) do is_state[state] = true end

-- What staff may decide, in the order of the buttons; the store says from which state.
local decisions = { "approved", "in_review", "changes_requested", "rejected", "suspended", "banned" }
local classes = { approved = "", in_review = "secondary", changes_requested = "secondary",
  rejected = "danger", suspended = "danger", banned = "danger" }
local free_of_reason = { approved = true, in_review = true }

local decision_form = form.define {
  { "version", form.integer { min = 0, max = 999999999 } },
  { "to", form.choice(decisions) },
  { "reason", form.text { max = 500, optional = true, lines = true } },
}

local function shown_moves(model, t)
  local list = {}
  for _, to in ipairs(decisions) do
    if models.may_move(model.state, to) then
      local key = model.state == "suspended" and to == "approved" and "reinstate" or to
      list[#list + 1] = { to = to, class = classes[to], label = t("admin.move." .. key) }
    end
  end
  return list
end

local function audit_rows(model, req)
  local rows = {}
  for i, row in ipairs(audit.of_target("model:" .. model.id, 30)) do
    rows[i] = { at = format.iso(row.at), at_text = format.datetime(row.at, req.locale),
      actor = row.actor_name or row.via, action = row.action }
  end
  return rows
end

local function page(req, model, shown, status)
  local identity = models.identity(model.id) or {}
  return req:render("admin/model", {
    model = {
      name = model.stage_name, slug = model.slug, account_name = model.account_name,
      bio = model.bio, reason = model.state_reason, version = model.state_version,
      state_text = req.t("model.state." .. model.state), tone = present.model_tone(model.state),
      legal_name = identity.legal_name, born = identity.born,
    },
    own = model.account_id == req.account.id, moves = shown_moves(model, req.t),
    form = shown, history = audit_rows(model, req),
  }, status)
end

local function model_of(req)
  return models.by_slug(req.params.slug) or req:not_found()
end

local function decide(req)
  local model = model_of(req)
  local t = req.t
  if model.account_id == req.account.id then req:forbidden(t("admin.own")) end
  local values, errors = decision_form:read(req)
  if errors then return page(req, model, forms.failed(values, errors), 422) end
  if not free_of_reason[values.to] and (values.reason or "") == "" then
    return page(req, model, forms.failed(values, { reason = t("admin.reason_missing") }), 422)
  end
  if values.version ~= model.state_version then
    return page(req, model, forms.failed(values, { [""] = t("form.changed") }), 409)
  end
  if not models.may_move(model.state, values.to) then
    return page(req, model, forms.failed(values, { [""] = t("admin.bad_move") }), 409)
  end
  local state_text = t("model.state." .. values.to)
  local moved = db.transaction(function(tx)
    -- The version is part of the condition: of two deciders at once the second changes nothing.
    local ok = models.move({
      id = model.id, version = values.version, from = model.state, to = values.to,
      reason = values.reason ~= "" and values.reason or nil, reviewer_id = req.account.id,
    }, tx)
    if not ok then return false end
    audit.write({ actor = req.account.id, action = "model." .. values.to,
      target = "model:" .. model.id, ip = req.remote,
      detail = { from = model.state, reason = values.reason } }, tx)
    if model.account_email then
      mail.send({
        to = model.account_email, template = "mail/decision", locale = model.account_locale,
        values = { name = model.stage_name, state = state_text, reason = values.reason or "",
          url = present.site().url .. "/models/apply" },
      }, tx)
    end
    return true
  end)
  if not moved then
    return page(req, model_of(req), forms.failed(values, { [""] = t("form.changed") }), 409)
  end
  req:flash(t("admin.moved", { name = model.stage_name, state = state_text }), "success")
  return req:redirect("/admin/models/" .. model.slug)
end

return function(site)
  site:group({ prefix = "/admin/models", permission = "admin.models" }, function(group)
    group:get("/", { name = "admin_models" }, function(req)
      local t = req.t
      local query = (req.query.q or ""):match("^%s*(.-)%s*$")
      if (utf8.len(query) or math.huge) > 100 then req:bad_request("the query is too long") end
      local state = is_state[req.query.state or ""] and req.query.state or nil
      local pages = pagination.read(req, { size = 50, most = 200 })
      local rows, total = models.search {
        query = query, state = state, limit = pages.size, offset = pages.offset,
      }
      pages:finish(total)
      local options = { { value = "", label = t("admin.any_state") } }
      for _, each in ipairs(states) do
        options[#options + 1] = { value = each, label = t("model.state." .. each) }
      end
      local list = {}
      for i, row in ipairs(rows) do
        list[i] = {
          slug = row.slug, name = row.stage_name, account_name = row.account_name,
          tone = present.model_tone(row.state), state_text = t("model.state." .. row.state),
          since = format.iso(row.updated_at), since_text = format.datetime(row.updated_at, req.locale),
        }
      end
      return req:render("admin/models", {
        q = query, states = options, models = list, pager = pages.pages > 1 and pages or nil,
        filter_form = forms.fresh { state = state or "" },
      })
    end)

    group:get("/:slug", { name = "admin_model" }, function(req)
      return page(req, model_of(req), forms.fresh())
    end)
    group:post("/:slug", decide)
  end)
end
