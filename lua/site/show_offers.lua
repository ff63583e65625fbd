--- What the room page says of shows to this visitor: the one that he is in, his request, what he could ask
-- for, buy or join.
local format = require "footlight.format"
local present = require "site.present"
local rules = require "store.show_rules"
local shows = require "store.shows"

local offers = {}

local function credits(amount, req) return present.credits(amount, req.locale) end

local function running(req, found)
  local show, mine = found.show, found.mine
  local spying = mine and mine.role == "spy"
  return {
    id = show.id, kind = spying and "spy" or show.kind, own = found.own, state = show.state,
    rate = spying and show.spy_rate or show.rate,
    rate_text = credits(spying and show.spy_rate or show.rate, req), price_text = credits(show.price, req),
    seconds = show.seconds, partner = found.own and show.requester_name or show.stage_name,
    metered = show.kind ~= "ticket", watched = not spying and not found.own and show.kind == "private",
  }
end

local function open_shows(req, room, list)
  local tickets, pool = {}, nil
  for _, show in ipairs(list) do
    local mine = req.account and shows.participant(show.id, req.account.id)
    if show.kind == "ticket" and show.state ~= "announced" then
      tickets[#tickets + 1] = { id = show.id, title = show.title, price = show.price,
        price_text = credits(show.price, req), bought = mine ~= nil, live = show.state == "live",
        starts_iso = format.iso(show.starts_at), starts_text = format.datetime(show.starts_at, req.locale) }
    elseif show.kind == "ticket" then
      tickets[#tickets + 1] = { id = show.id, title = show.title, price_text = credits(show.price, req), early = true,
        starts_iso = format.iso(show.starts_at), starts_text = format.datetime(show.starts_at, req.locale) }
    elseif show.kind == "group" and show.state == "pooling" then
      local members = 0
      for _, each in ipairs(shows.participants(show.id)) do
        if each.state == "in" then members = members + 1 end
      end
      pool = { id = show.id, rate = show.rate, rate_text = credits(show.rate, req), minimum = show.minimum,
        hold_text = credits(rules.to_hold(show), req), members = members, size = show.size,
        joined = mine ~= nil and mine.state == "in" }
    end
  end
  return tickets, pool
end

--- For templates/partials/show.html; `found` is of site.show_access.
function offers.of(req, room, found)
  local view = { kind = room.show_kind, tickets = {} }
  if found.kind == "in" or found.kind == "own" then view.running = running(req, found) end
  if found.own then return view end
  view.tickets, view.pool = open_shows(req, room, shows.open_of_model(room.id))
  if found.kind == "spy" then
    view.spy = { id = found.show.id, rate = found.show.spy_rate, rate_text = credits(found.show.spy_rate, req) }
  end
  if not req.account then
    view.guest_private = room.live and room.private_rate and credits(room.private_rate, req) or nil
    return view
  end
  local request = shows.request_of(req.account.id)
  if request and request.model_id == room.id and request.state == "requested" then
    view.pending = { id = request.id, left_ms = request.left_ms, rate_text = credits(request.rate, req) }
  elseif not request and found.kind == "public" and room.live and not room.away and room.private_rate then
    view.private = { rate = room.private_rate, rate_text = credits(room.private_rate, req),
      minimum = room.private_minimum,
      minimum_text = credits(room.private_rate * math.max(room.private_minimum, 1), req) }
  end
  return view
end

return offers
