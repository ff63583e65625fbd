--- How a show is put into words for those in it, on the room page and in the studio: what it costs, who
-- is in, what happens next, and, when it is over, what became of it.
local present = require "site.present"
local rules = require "store.show_rules"
local shows = require "store.shows"

local view = {}

local CREDIT = 1000000
local RECEIPT_SECONDS = 600 -- how long a page still says what became of a show

local function credits(amount, req) return present.credits(amount, req.locale) end

--- What was watched and paid, for texts; `count` chooses between one credit and several.
local function sum_of(amount, seconds, req)
  return { time = view.clock(seconds), amount = credits(amount, req), count = amount == CREDIT and 1 or 2 }
end

--- "1:05" of seconds.
function view.clock(seconds) return ("%d:%02d"):format(seconds // 60, seconds % 60) end

--- Who takes part now: { people =, spies =, held = micro-credits }.
function view.inside(show)
  local found = { people = 0, spies = 0, held = 0 }
  for _, each in ipairs(shows.participants(show.id)) do
    if each.state == "in" and each.role == "spy" then
      found.spies = found.spies + 1
    elseif each.state == "in" then
      found.people, found.held = found.people + 1, found.held + each.held
    end
  end
  return found
end

local next_steps = {
  viewer = { "accepted", "paused" }, spy = { "paused" }, model = { "accepted", "active", "paused", "live" },
}

--- What comes next in each state, for one side ("viewer", "spy", "model"): state → text.
function view.states(show, req, side)
  local t, texts = req.t, {}
  local values = { name = side == "model" and (show.requester_name or "") or show.stage_name }
  for _, state in ipairs(next_steps[side]) do
    if side == "model" and state == "active" and show.kind == "group" then
      texts[state] = t "show.next.model.group"
    elseif side == "model" then
      texts[state] = t("show.next.model." .. state, values)
    elseif side == "spy" then
      texts[state] = t("show.next.spy." .. state, values)
    else
      texts[state] = t("show.next.viewer." .. state, values)
    end
  end
  return texts
end

--- The rules of its price, in a sentence.
function view.terms(show, req, spying)
  local t = req.t
  if spying then return t("show.terms.spy", { rate = credits(show.spy_rate, req) }) end
  if show.kind == "ticket" then return t("show.terms.ticket", { price = credits(show.price, req) }) end
  if show.minimum == 0 then return t("show.terms.no_minimum", { rate = credits(show.rate, req) }) end
  return t("show.terms.minimum", { rate = credits(show.rate, req), minutes = show.minimum,
    least = credits(rules.to_hold(show), req) })
end

local function why(show, req, side)
  local key = show.end_reason or show.state
  if show.state == "declined" then
    key = show.end_reason == "no_credit" and "declined_credit" or "declined"
  elseif show.state == "withdrawn" then
    key = "withdrawn"
  end
  if side == "model" then return req.t("show.why.model." .. key, { name = show.requester_name or "" }) end
  return req.t("show.why.viewer." .. key, { name = show.stage_name })
end

--- What became of the viewer's last show in this room, or nil: { text, tone }.
function view.receipt(req, room)
  local show = shows.last_of(req.account.id, room.id, RECEIPT_SECONDS)
  if not show then return nil end
  local t, mine = req.t, shows.participant(show.id, req.account.id)
  if not show.started_at or mine.state == "settled" and mine.captured + mine.metered == 0 then
    return { text = why(show, req, "viewer") .. " " .. t("show.nothing_charged"), tone = "soft" }
  end
  local seconds = mine.watched_ms // 1000
  if mine.state ~= "settled" then
    return { text = why(show, req, "viewer") .. " " .. t("show.settling"), tone = "soft" }
  end
  return { tone = "good", text = why(show, req, "viewer") .. " " .. t("show.paid",
    sum_of(mine.captured + mine.metered, seconds, req)) }
end

--- The same for the model.
function view.last_of_model(req, model)
  local show = shows.last_of_model(model.id, RECEIPT_SECONDS)
  if not show then return nil end
  local sum, open = 0, 0
  for _, each in ipairs(shows.participants(show.id)) do
    sum = sum + each.captured + each.metered
    if each.state ~= "settled" then open = open + 1 end
  end
  local t, text = req.t, why(show, req, "model")
  if open > 0 then
    text = text .. " " .. t("show.settling")
  elseif show.started_at then
    text = text .. " " .. t("show.earned", sum_of(sum, show.seconds, req))
  end
  return { text = text, tone = sum > 0 and "good" or "soft" }
end

return view
