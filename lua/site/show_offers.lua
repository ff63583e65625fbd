--- What the room page says of shows to this visitor: the one that he is in, his request, what became of the
-- last one, what he could ask for, buy or join.
local billing = require "runtime.billing"
local format = require "footlight.format"
local present = require "site.present"
local rules = require "store.show_rules"
local show_view = require "site.show_view"
local shows = require "store.shows"

local offers = {}

local function credits(amount, req) return present.credits(amount, req.locale) end

local function running(req, found)
  local show, mine = found.show, found.mine
  local spying = mine.role == "spy"
  local inside = show_view.inside(show)
  local states = show_view.states(show, req, spying and "spy" or "viewer")
  return {
    id = show.id, kind = spying and "spy" or show.kind, state = show.state,
    rate_text = credits(spying and show.spy_rate or show.rate, req),
    partner = show.stage_name, people = inside.people, spies = inside.spies,
    may_end = show.kind ~= "ticket", several = show.kind ~= "private" or spying,
    terms = show_view.terms(show, req, spying), states = states, next_text = states[show.state],
    left_ms = (show.state == "accepted" or show.state == "paused") and show.left_ms or nil,
  }
end

local function ticket_of(req, show, mine)
  return { id = show.id, title = show.title, price = show.price, price_text = credits(show.price, req),
    bought = mine ~= nil, live = show.state == "live", early = show.state == "announced",
    starts_iso = format.iso(show.starts_at), starts_text = format.datetime(show.starts_at, req.locale) }
end

local function open_shows(req, list)
  local tickets, pool = {}, nil
  for _, show in ipairs(list) do
    local mine = req.account and shows.participant(show.id, req.account.id)
    if show.kind == "ticket" then
      tickets[#tickets + 1] = ticket_of(req, show, mine)
    elseif show.kind == "group" and show.state == "pooling" then
      pool = { id = show.id, rate = show.rate, rate_text = credits(show.rate, req), minimum = show.minimum,
        hold_text = credits(rules.to_hold(show), req), members = show_view.inside(show).people, size = show.size,
        joined = mine ~= nil and mine.state == "in", left_ms = show.left_ms }
    end
  end
  return tickets, pool
end

local function private_offer(req, room)
  local least = room.private_rate * math.max(room.private_minimum, 1)
  local wallet = billing.wallet(req.account.id)
  local short = least - wallet.paid - wallet.bonus
  return { rate = room.private_rate, rate_text = credits(room.private_rate, req), minimum = room.private_minimum,
    minimum_text = credits(least, req), short = short > 0 and credits(short, req) or nil }
end

--- For templates/partials/show.html; `found` is of site.show_access.
function offers.of(req, room, found)
  local view = { kind = room.show_kind, tickets = {} }
  if found.own then return view end
  if found.kind == "in" then view.running = running(req, found) end
  view.tickets, view.pool = open_shows(req, shows.open_of_model(room.id))
  if found.kind == "spy" then
    view.spy = { id = found.show.id, rate = found.show.spy_rate, rate_text = credits(found.show.spy_rate, req) }
  end
  local offered = found.kind == "public" and room.live and room.private_rate
  if offered and room.away then view.away = true end
  if not req.account then
    view.guest_private = offered and not room.away and credits(room.private_rate, req) or nil
    return view
  end
  local request = shows.request_of(req.account.id)
  if request and request.model_id == room.id and request.state == "requested" then
    view.pending = { id = request.id, left_ms = request.left_ms, terms = show_view.terms(request, req) }
  elseif request and request.model_id ~= room.id then
    view.elsewhere = { slug = request.slug, name = request.stage_name }
  elseif not request and offered and not room.away then
    view.private = private_offer(req, room)
  end
  if not view.running and not view.pending then view.receipt = show_view.receipt(req, room) end
  return view
end

return offers
