--- The studio's page of shows: requests with their countdown, what runs, and the prices.
local billing = require "runtime.billing"
local db = require "runtime.db"
local form = require "footlight.form"
local format = require "footlight.format"
local forms = require "site.forms"
local live = require "site.live"
local models = require "store.models"
local present = require "site.present"
local show_panel = require "studio.show_panel"
local rooms = require "store.rooms"
local rules = require "store.show_rules"
local show_evidence = require "site.show_evidence"
local show_view = require "site.show_view"
local shows = require "store.shows"

local CREDIT = 1000000
local HOLD_MORE = 7200 -- seconds beyond the minimum: until it is taken or given back
local LONGEST_AHEAD = 7 * 24 * 60 -- minutes

local prices_form = form.define {
  { "private_rate", form.integer { min = 1, max = 10000, optional = true } },
  { "private_minimum", form.integer { min = 0, max = 60 } },
  { "spy_rate", form.integer { min = 1, max = 10000, optional = true } },
  { "group_rate", form.integer { min = 1, max = 10000, optional = true } },
  { "group_minimum", form.integer { min = 1, max = 60 } },
  { "group_size", form.integer { min = 2, max = 100 } },
  { "version", form.integer { min = 0, max = 999999999 } },
}
local announce_form = form.define {
  { "title", form.text { min = 1, max = 100 } },
  { "price", form.integer { min = 1, max = 100000 } },
  { "minutes", form.integer { min = 1, max = LONGEST_AHEAD } },
}
local act_form = form.define {
  { "do", form.choice { "accept", "decline", "end", "begin" } },
}
local away_form = form.define { { "away", form.choice { "yes", "no" } } }

local function model_of(req)
  local model = models.by_account(req.account.id)
  if not model then req:not_found() end
  return model
end

local function whole(amount) return amount and tostring(amount // CREDIT) or "" end

local function row_of(show, req)
  local inside = show_view.inside(show)
  return {
    id = show.id, kind = show.kind, state = show.state, title = show.title, people = inside.people, size = show.size,
    rate_text = present.credits(show.rate, req.locale), price_text = present.credits(show.price, req.locale),
    held_text = present.credits(inside.held, req.locale),
    starts_iso = show.starts_at and format.iso(show.starts_at),
    starts_text = show.starts_at and format.datetime(show.starts_at, req.locale),
    ready = show.kind == "group" and inside.people >= show.size or show.kind == "ticket" and show.state == "selling",
  }
end

local function page(req, model, more, status)
  local room = rooms.by_model(model.id)
  local open, planned = shows.open_of_model(model.id), {}
  for _, show in ipairs(open) do
    if show.kind ~= "private" and not rules.on_stage(show.state) then planned[#planned + 1] = row_of(show, req) end
  end
  local panel = show_panel.of(req, model, open)
  local variables = {
    model = model, panel = panel, running = panel.running, planned = planned, away = room.away,
    live = panel.live, announce = forms.fresh(),
    prices = forms.fresh { private_rate = whole(room.private_rate), spy_rate = whole(room.spy_rate),
      private_minimum = tostring(room.private_minimum), group_rate = whole(room.group_rate),
      group_minimum = tostring(room.group_minimum), group_size = tostring(room.group_size), version = room.version },
    group_on = room.group_rate ~= nil,
  }
  for name, value in pairs(more or {}) do variables[name] = value end
  return req:render("studio/shows", variables, status)
end

local function back(req, key, tone)
  if req:wants_json() then return req:json_response { ok = true } end
  if key then req:flash(req.t(key), tone or "success") end
  return req:redirect("/studio/shows")
end

local function conflict(req, model, key)
  if req:wants_json() then return req:json_response({ ok = false, error = req.t(key) }, 409) end
  return page(req, model, { problem = req.t(key) }, 409)
end

local acts = {}

-- The minimum is set aside first; who cannot pay it any more is declined.
function acts.accept(req, model, show)
  if show.kind ~= "private" or show.state ~= "requested" or show.overdue then
    return conflict(req, model, "shows.too_late")
  end
  if live.of(model.slug).state ~= "live" then return conflict(req, model, "shows.not_live") end
  if shows.on_stage(model.id) then return conflict(req, model, "shows.busy") end
  local amount, hold = rules.to_hold(show), show_evidence.hold_of(show.id, show.requester_id)
  if amount > 0 then
    local held = billing.hold { op = hold, account = show.requester_id, amount = amount, payee = model.id,
      type = "private", seconds = show.minimum * 60 + HOLD_MORE, actor = "account:" .. req.account.id }
    if not held then
      shows.move { id = show.id, from = "requested", to = "declined", reason = "no_credit" }
      return conflict(req, model, "shows.no_credit")
    end
  end
  if shows.accept(show.id, amount) then return back(req, "shows.accepted") end
  -- Withdrawn meanwhile; but if another tab accepted it, the hold is that one's.
  local now = shows.by_id(show.id)
  if rules.is_over(now.state) and amount > 0 then billing.release { op = hold, account = show.requester_id } end
  return conflict(req, model, "shows.too_late")
end

function acts.decline(req, model, show)
  if show.state ~= "requested" or not shows.move { id = show.id, from = "requested", to = "declined", reason = "model" } then
    return conflict(req, model, "shows.too_late")
  end
  return back(req, "shows.declined")
end

acts["end"] = function(req, model, show)
  if show.state == "requested" then return acts.decline(req, model, show) end
  shows.finish(show.id, "model")
  return back(req, "shows.ended")
end

function acts.begin(req, model, show)
  if live.of(model.slug).state ~= "live" then return conflict(req, model, "shows.not_live") end
  local to = show.kind == "group" and show.state == "pooling" and "active"
    or show.kind == "ticket" and show.state == "selling" and "live"
  if not to then return conflict(req, model, "shows.too_late") end
  if show.kind == "group" and not row_of(show, req).ready then return conflict(req, model, "shows.too_few") end
  if not shows.move { id = show.id, from = show.state, to = to } then return conflict(req, model, "shows.busy") end
  return back(req, "shows.begun")
end

return function(site)
  site:group({ prefix = "/studio/shows", signed_in = true }, function(group)
    group:get("/", { name = "studio_shows" }, function(req) return page(req, model_of(req)) end)

    -- The panel alone, for pages of hers that are open.
    group:get("/panel", { name = "studio_show_panel" }, function(req)
      return req:render("partials/show_panel", { panel = show_panel.of(req, model_of(req)) })
    end)

    group:post("/prices", function(req)
      local model = model_of(req)
      local values, errors = prices_form:read(req)
      if errors then return page(req, model, { prices = forms.failed(values, errors) }, 422) end
      local function micro(credits) return credits and credits * CREDIT end
      local saved = db.transaction(function(tx)
        return shows.set_prices({ model_id = model.id, version = values.version,
          private_rate = micro(values.private_rate), private_minimum = values.private_minimum,
          spy_rate = micro(values.spy_rate), group_rate = micro(values.group_rate),
          group_minimum = values.group_minimum, group_size = values.group_size }, tx)
      end)
      if saved then return back(req, "shows.saved") end
      local shown = forms.failed(values, { [""] = req.t("form.changed") })
      shown.values.version = rooms.by_model(model.id).version
      return page(req, model, { prices = shown }, 409)
    end)

    group:post("/away", function(req)
      local model = model_of(req)
      local values, errors = away_form:read(req)
      if errors then req:bad_request("away is yes or no") end
      shows.set_away(model.id, values.away == "yes")
      return back(req)
    end)

    group:post("/group", function(req)
      local model = model_of(req)
      local show, why = shows.pool { model_id = model.id }
      if not show then return conflict(req, model, why == "off" and "shows.group_off" or "shows.one_open") end
      return back(req, "shows.pool_open")
    end)

    group:post("/ticket", function(req)
      local model = model_of(req)
      local values, errors = announce_form:read(req)
      if errors then return page(req, model, { announce = forms.failed(values, errors) }, 422) end
      local show = shows.announce { model_id = model.id, title = values.title, price = values.price * CREDIT,
        starts_in = values.minutes * 60 }
      if not show then return conflict(req, model, "shows.one_open") end
      return back(req, "shows.announced")
    end)

    group:post("/:id", function(req)
      local model = model_of(req)
      local id = req.params.id:match("^[1-9]%d*$")
      local show = id and #id < 12 and shows.by_id(tonumber(id))
      if not show or show.model_id ~= model.id then req:not_found() end
      local values, errors = act_form:read(req)
      if errors then req:bad_request("nothing that can be done") end
      return acts[values["do"]](req, model, show)
    end)
  end)
end
