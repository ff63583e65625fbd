--- Shows take their course: requests expire, a show begins when its viewer watches, pauses when the
-- picture stops, ends when the viewer or the credits are gone, and is settled. What was watched stands in
-- show:<id> in the main Redis, written by hooks and media while it happens (docs/streaming.md), and is
-- saved to MariaDB on the way: after a restart a show is settled by what was saved last, never by more.
local billing = require "runtime.billing"
local log = require "runtime.log"
local realtime = require "runtime.realtime"
local rules = require "store.show_rules"
local show_evidence = require "site.show_evidence"
local shows = require "store.shows"
local streaming = require "runtime.streaming"
local task = require "runtime.task"

local PAUSE = 0.5            -- seconds between looks
local TROUBLE_PAUSE = 2
local ABSENT_MS = 15000      -- a page may be loaded again, a player may fall back
local EMPTY_MS = 30000       -- a group show without members, a stream that is gone
local SAVE_MS = 4000
local METER_MS = 1900
local CREDIT_MINUTE = 60
local SETTLE_SECONDS = 20    -- sessions that do not say that they ended are not waited for longer

local job = { name = "shows" }

-- What this process saw of each show: when it last had what it needs (monotonic ms), when it was saved.
local memory = {}

local function remember(show)
  local known = memory[show.id]
  if not known or known.state ~= show.state then
    local now = task.monotonic_ms()
    known = { state = show.state, present = now, live = now, saved = known and known.saved or 0, seen = true }
    memory[show.id] = known
  end
  known.seen = true
  return known
end

local new_account = show_evidence.none

local hold_of = show_evidence.hold_of

-- Takes what is due of a hold. Again, also by another process: nothing.
local function take(show, participant, amount)
  local held = hold_of(show.id, participant.account_id)
  local done, reason = billing.capture { op = held .. ":take", account = participant.account_id,
    original = held, amount = amount, actor = "show:" .. show.id }
  if not done then log.error("shows.not_taken", { show = show.id, account = participant.account_id, reason = reason }) end
  return done ~= nil
end

-- The hold of one who stays to the end of what it pays for is taken then: holds do not last for ever.
local function is_earned(show, participant, watched_ms)
  if participant.held == 0 or participant.captured > 0 then return false end
  if show.kind == "ticket" then return show.state == "live" and show.seconds >= rules.TAKEN_SECONDS end
  return watched_ms >= show.minimum * 60000
end

local function save(show, known, evidence)
  if task.monotonic_ms() - known.saved < SAVE_MS then return end
  known.saved = task.monotonic_ms()
  for _, participant in ipairs(shows.participants(show.id)) do
    local mine = evidence[participant.account_id]
    local watched = math.max(mine and mine.watched_ms or 0, participant.watched_ms)
    if mine then shows.save_evidence(participant.id, watched) end
    if participant.state == "in" and is_earned(show, participant, watched)
      and take(show, participant, participant.held) then
      shows.captured(participant.id, participant.held)
    end
  end
end

local function left_of(show, participant, watched_ms)
  local rate = participant.role == "spy" and show.spy_rate or show.rate
  if rate == 0 or participant.role == "buyer" then return nil end
  local wallet = billing.wallet(participant.account_id)
  -- What is held pays for the minimum; once it is taken, the wallet says it without us.
  local used = participant.captured == 0 and participant.role ~= "spy"
    and math.min(watched_ms // 1000, show.minimum * CREDIT_MINUTE) or 0
  return math.max((wallet.paid + wallet.bonus + wallet.held) * CREDIT_MINUTE // rate - used, 0)
end

-- The meters that both sides see: to each what it costs him, to the model what it comes to. Warnings at
-- three and one minute are the page's; what is left in a viewer's wallet is his to know.
local function tell_meters(show, known, evidence)
  if task.monotonic_ms() - (known.told or 0) < METER_MS then return end
  known.told = task.monotonic_ms()
  local sum, people, spies = 0, 0, 0
  local heard = {}
  for _, each in ipairs(shows.participants(show.id)) do
    local mine = evidence[each.account_id] or show_evidence.none()
    local watched = math.max(mine.watched_ms, each.watched_ms)
    local cost = rules.cost(show, watched, each.role)
    sum = sum + cost
    if each.state == "in" then
      if each.role == "spy" then spies = spies + 1 else people = people + 1 end
      heard[#heard + 1] = { account = each.account_id, seconds = watched // 1000, cost = cost,
        left = left_of(show, each, watched) }
    end
  end
  local function tell(account, seconds, cost, left)
    realtime.publish("user:" .. account, { type = "meter", show = show.id, slug = show.slug, kind = show.kind,
      state = show.state, seconds = seconds, cost = cost, left = left, people = people, spies = spies,
      at = task.now_ms() })
  end
  for _, each in ipairs(heard) do tell(each.account, each.seconds, each.cost, each.left) end
  tell(show.model_account, show.seconds, sum)
end

local function is_live(show)
  local live = streaming.live(show.slug)
  return live ~= nil and live.state == "live"
end

-- ---- what each state waits for -------------------------------------------------------------------

local steps = {}

function steps.requested(show)
  if show.overdue then shows.move { id = show.id, from = "requested", to = "expired" } end
end

function steps.accepted(show, _, evidence)
  local mine = evidence[show.requester_id]
  if mine and mine.last > 0 then
    shows.move { id = show.id, from = "accepted", to = "active" }
  elseif show.overdue then
    shows.finish(show.id, is_live(show) and "viewer" or "no_media")
  end
end

local function private_active(show, known, evidence)
  local mine = evidence[show.requester_id] or new_account()
  local now = task.monotonic_ms()
  if not is_live(show) then
    shows.move { id = show.id, from = "active", to = "paused", seconds = shows.PAUSE_SECONDS }
  elseif mine.open then
    known.present = now
    tell_meters(show, known, evidence)
  elseif mine.reason == "funds" then
    shows.finish(show.id, "no_credit")
  elseif now - known.present > ABSENT_MS then
    shows.finish(show.id, "viewer")
  end
end

function steps.paused(show)
  if is_live(show) then
    shows.move { id = show.id, from = "paused", to = "active" }
  elseif show.overdue then
    shows.finish(show.id, "no_media")
  end
end

-- Group and ticket shows have no pause: they wait as long as a pause lasts.
local function with_many(show, known, evidence)
  local now = task.monotonic_ms()
  if is_live(show) then known.live = now end
  if now - known.live > EMPTY_MS then return shows.finish(show.id, "no_media") end
  if known.live == now then tell_meters(show, known, evidence) end
  if show.kind == "ticket" then return end
  for account, mine in pairs(evidence) do
    if account ~= show.model_account and mine.open then
      known.present = now
    elseif account ~= show.model_account and mine.reason == "funds" then
      shows.leave(show.id, account)
    end
  end
  if now - known.present > EMPTY_MS then shows.finish(show.id, "viewer") end
end

function steps.active(show, known, evidence)
  return (show.kind == "private" and private_active or with_many)(show, known, evidence)
end

steps.live = with_many

function steps.pooling(show)
  if show.overdue then shows.finish(show.id, "viewer") end
end

function steps.announced(show)
  if show.starts_in <= shows.AHEAD_SECONDS then
    shows.move { id = show.id, from = "announced", to = "selling", seconds = math.max(show.starts_in, 0) + 3600 }
  end
end

function steps.selling(show)
  if show.overdue then shows.finish(show.id, "model") end
end

-- ---- settling ------------------------------------------------------------------------------------

local function give_back_metered(show, participant, mine)
  local given = 0
  for _, session in ipairs(mine.sids) do
    if session.price ~= 0 then
      local done, reason = billing.refund { op = ("show:%d:back:%s"):format(show.id, session.sid),
        account = participant.account_id, original = session.sid, actor = "show:" .. show.id }
      if done then
        given = given + math.max(session.price, 0)
      else
        log.warn("shows.not_given_back", { show = show.id, sid = session.sid, reason = reason })
      end
    end
  end
  return given
end

local function settle(participant)
  local show = shows.by_id(participant.show_id)
  local mine = show_evidence.of(show.id)[participant.account_id] or new_account()
  local ended = show.ended_at ~= nil
  -- The last word of its sessions is a moment away; who leaves a show that goes on is cut by its page.
  if mine.open and ended and show.seconds_over < SETTLE_SECONDS then return false end
  if mine.open and not ended then
    for _, session in ipairs(mine.sids) do streaming.cut(session.sid, "left") end
    return false
  end
  participant.watched_ms = math.max(participant.watched_ms, mine.watched_ms)
  shows.save_evidence(participant.id, participant.watched_ms)
  local reason = participant.state == "left" and "viewer" or show.end_reason
  local due, back = rules.due(show, participant, reason)
  local captured, metered = participant.captured, mine.metered
  if participant.held > 0 and captured == 0 then
    if due > 0 and take(show, participant, due) then
      captured = due
    elseif due == 0 then
      billing.release { op = hold_of(show.id, participant.account_id), account = participant.account_id }
    end
  end
  if back and participant.role ~= "spy" then metered = metered - give_back_metered(show, participant, mine) end
  if shows.settle { participant = participant.id, captured = captured, metered = metered } then
    log.info("shows.settled", { show = show.id, account = participant.account_id, captured = captured,
      metered = metered, seconds = participant.watched_ms // 1000, reason = reason })
  end
  return true
end

--- Settles what is to be settled; returns how many participants were.
function job.settle()
  local count = 0
  for _, participant in ipairs(shows.unsettled()) do
    if settle(participant) then count = count + 1 end
  end
  for _, show in ipairs(shows.open()) do
    if show.state == "ending" and shows.count_unsettled(show.id) == 0 then
      shows.move { id = show.id, from = "ending", to = "settled" }
    end
  end
  return count
end

--- One look at all shows. For run, and for tests.
function job.step()
  for _, known in pairs(memory) do known.seen = false end
  for _, show in ipairs(shows.open()) do
    local known = remember(show)
    local evidence = rules.on_stage(show.state) and show_evidence.of(show.id) or {}
    if rules.on_stage(show.state) then save(show, known, evidence) end
    local step = steps[show.state]
    if step then step(show, known, evidence) end
  end
  for id, known in pairs(memory) do
    if not known.seen then memory[id] = nil end
  end
  job.settle()
end

function job.run()
  local trouble = false
  while true do
    -- Without MariaDB or Redis everything waits; what is watched is metered and cut without us.
    local ok, reason = pcall(job.step)
    if not ok and not trouble then log.warn("shows.wait", { error = tostring(reason) }) end
    trouble = not ok
    task.sleep(ok and PAUSE or TROUBLE_PAUSE)
  end
end

return job
