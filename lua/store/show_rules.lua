--- What a show may become, and what it costs. No SQL and no clock: states and numbers in, answers out.
local rules = {}

local CREDIT_MINUTE = 60
rules.FREE_SECONDS = 10     -- nobody pays for a show that ends at once
rules.TAKEN_SECONDS = 300   -- a ticket show that has lasted so long has taken place

-- From each state to those that may follow (site.md, "Private show").
local moves = {
  private = {
    requested = { declined = true, expired = true, withdrawn = true, accepted = true },
    accepted = { active = true, ending = true },
    active = { paused = true, ending = true },
    paused = { active = true, ending = true },
    ending = { settled = true },
  },
  group = {
    pooling = { active = true, cancelled = true },
    active = { settled = true, cancelled = true },
  },
  ticket = {
    announced = { selling = true, cancelled = true },
    selling = { live = true, cancelled = true },
    live = { settled = true, cancelled = true },
  },
}
rules.first = { private = "requested", group = "pooling", ticket = "announced" }
rules.states = {
  private = { "requested", "declined", "expired", "withdrawn", "accepted", "active", "paused", "ending", "settled" },
  group = { "pooling", "active", "settled", "cancelled" },
  ticket = { "announced", "selling", "live", "settled", "cancelled" },
}

-- The states in which the stream is the show's alone.
local stage = { accepted = true, active = true, paused = true, live = true }
-- The states that somebody or the clock will still change.
local over = { declined = true, expired = true, withdrawn = true, settled = true, cancelled = true }

function rules.may_move(kind, from, to)
  local follow = moves[kind] and moves[kind][from]
  return follow ~= nil and follow[to] == true
end

function rules.on_stage(state) return stage[state] == true end
function rules.is_over(state) return over[state] == true end

--- Where the end of a show leads, for each kind; nil when it cannot end from there.
function rules.end_state(show, seconds, reason)
  if show.kind == "private" then return rules.may_move("private", show.state, "ending") and "ending" or nil end
  if show.state ~= "active" and show.state ~= "live" then return "cancelled" end
  if show.kind == "ticket" then return seconds >= rules.TAKEN_SECONDS and "settled" or "cancelled" end
  -- A group show that the model's side ends before its minimum has failed its members.
  local theirs = reason == "viewer" or reason == "no_credit"
  return (theirs or seconds >= show.minimum * CREDIT_MINUTE) and "settled" or "cancelled"
end

--- What must be there before somebody may take part: the minimum, or the price.
function rules.to_hold(show)
  if show.kind == "ticket" then return show.price end
  return show.rate * show.minimum
end

--- Seconds that a participant's meter need not count, because what is held pays for them.
function rules.prepaid_seconds(show, watched_ms)
  if show.kind == "ticket" then return 0 end
  return math.max(show.minimum * CREDIT_MINUTE - watched_ms // 1000, 0)
end

--- How much of `held` is due from someone who watched so long, and whether what was metered beside it
-- goes back. reason: why it ended for this participant.
function rules.due(show, participant, reason)
  local cancelled = show.state == "cancelled" or not show.started_at
  if participant.role == "spy" then return 0, false end
  if participant.role == "buyer" then return cancelled and 0 or participant.held, false end
  local seconds = (participant.watched_ms + 999) // 1000
  if cancelled or seconds <= rules.FREE_SECONDS then return 0, true end
  if reason == "viewer" or reason == "no_credit" then return participant.held, false end
  return math.min(participant.held, show.rate * seconds // CREDIT_MINUTE), false
end

--- What both sides see while it runs: what the show has cost this participant so far.
function rules.cost(show, watched_ms, role)
  local seconds = watched_ms // 1000
  if role == "spy" then return (show.spy_rate or 0) * seconds // CREDIT_MINUTE end
  if show.kind == "ticket" then return show.price end
  if seconds <= rules.FREE_SECONDS then return 0 end
  return math.max(show.rate * seconds // CREDIT_MINUTE, show.rate * show.minimum)
end

return rules
