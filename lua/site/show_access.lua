--- Who may see a room's picture while a show has it, and with which ticket.
local rules = require "store.show_rules"
local show_evidence = require "site.show_evidence"
local shows = require "store.shows"
local streaming = require "runtime.streaming"

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
    local paid = room.rate > 0 and not found.own
    terms = { rate = paid and room.rate or 0, policy = paid and "paid" or "free" }
  else
    return nil
  end
  terms.account = req.account and req.account.id or 0
  terms.slug, terms.expires = room.slug, os.time() + TICKET_SECONDS
  terms.show = found.show and found.show.id or 0
  return (streaming.ticket(terms))
end

return access
