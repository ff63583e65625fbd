--- The panel of shows that a model sees on her pages: who asks, what runs, what became of the last.
local live = require "site.live"
local present = require "site.present"
local rooms = require "store.rooms"
local rules = require "store.show_rules"
local show_view = require "site.show_view"
local shows = require "store.shows"

local panel = {}

local function title_of(show, req)
  if show.kind == "private" then return req.t("shows.in_private", { name = show.requester_name }) end
  if show.kind == "ticket" then return show.title end
  return req.t("shows.running.group")
end

local function running_of(show, req)
  local inside = show_view.inside(show)
  local states = show_view.states(show, req, "model")
  return { id = show.id, kind = show.kind, state = show.state, title = title_of(show, req), people = inside.people,
    spies = inside.spies, states = states, next_text = states[show.state],
    terms = req.t("shows.terms." .. show.kind, { rate = present.credits(show.rate, req.locale),
      price = present.credits(show.price, req.locale), held = present.credits(inside.held, req.locale) }),
    left_ms = (show.state == "accepted" or show.state == "paused") and show.left_ms or nil }
end

--- For templates/partials/show_panel.html. open: her shows that are not over, if they are at hand.
function panel.of(req, model, open)
  local room = rooms.by_model(model.id)
  local found = { requests = {}, live = live.of(model.slug).state == "live", away = room.away,
    private = room.private_rate ~= nil, slug = model.slug }
  for _, show in ipairs(open or shows.open_of_model(model.id)) do
    if show.state == "requested" then
      found.requests[#found.requests + 1] = { id = show.id, name = show.requester_name, minimum = show.minimum,
        left_ms = show.left_ms, rate_text = present.credits(show.rate, req.locale) }
    elseif rules.on_stage(show.state) then
      found.running = running_of(show, req)
    end
  end
  found.last = show_view.last_of_model(req, model)
  return found
end

return panel
