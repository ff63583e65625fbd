--- Who may see a room's picture while a show has it, and with which ticket.
local rules = require "store.show_rules"
local show_evidence = require "site.show_evidence"
local shows = require "store.shows"
local streaming = require "runtime.streaming"
local tariff = require "store.tariff"

local access = {}

local TICKET_SECONDS = 120 -- to begin watching in; a session may last longer

--- kind "public", "own", "in" (takes part), "spy" (may begin to), "out"; with the show and the participant.
function access.of(req, room)
  local own = req.account ~= nil and req.account.id == room.account_id
  local show = room.show_id and shows.on_stage(room.id)
  if not show then return { kind = "public", own = own } end
  if own then return { kind = "own", own = true, show = show } end
  local mine = req.account and shows.participant(show.id, req.account.id)
  if mine and mine.state == "in" then return { kind = "in", show = show, mine = mine } end
  local spied = show.kind == "private" and show.spy_rate and show.state ~= "accepted" and not mine
  return { kind = spied and "spy" or "out", show = show }
end

local function of_participant(found)
  local show, mine = found.show, found.mine
  if mine.role == "spy" then return { rate = show.spy_rate, policy = "spy" } end
  if show.kind == "ticket" then return { rate = 0, policy = "ticket" } end
  local watched = show_evidence.of(show.id)[mine.account_id]
  return { rate = show.rate, policy = show.kind,
    free = rules.prepaid_seconds(show, math.max(watched and watched.watched_ms or 0, mine.watched_ms)) }
end

--- A ticket for what access.of found; nil for who may not watch.
function access.ticket(req, room, found)
  local terms
  if found.kind == "in" then
    terms = of_participant(found)
  elseif found.kind == "own" or found.kind == "public" then
    if room.rate > 0 and not found.own then
      terms = tariff.current()
      terms.preview = nil
      terms.rate, terms.policy = room.rate, "paid"
    else
      terms = { rate = 0, policy = "free" }
    end
  else
    return nil
  end
  terms.account = req.account and req.account.id or 0
  terms.slug, terms.expires = room.slug, os.time() + TICKET_SECONDS
  terms.show = found.show and found.show.id or 0
  return (streaming.ticket(terms))
end

--- A guest's look into a paid room: a ticket and its seconds; nil if there is none (any more).
function access.preview(req, room, found)
  if found.kind ~= "public" or req.account or room.rate == 0 or not room.live then return nil end
  local seconds = tariff.current().preview
  if seconds == 0 then return nil end
  -- One in half a day for an address: a reload is no second look.
  if not req:allow("preview:" .. room.slug, 1, 43200) then return nil end
  return (streaming.ticket { slug = room.slug, rate = 0, policy = "preview", limit = seconds,
    expires = os.time() + TICKET_SECONDS }), seconds
end

return access
