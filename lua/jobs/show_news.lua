--- Carries the news of a show to where it matters, in this order: the projection, by which hooks and media
-- let viewers in; the order that cuts those who may not watch any more; pages. Always from the rows as
-- they are now, so it does not matter how often or how late.
local projections = require "jobs.projections"
local realtime = require "runtime.realtime"
local redis = require "runtime.redis"
local shows = require "store.shows"
local streaming = require "runtime.streaming"
local task = require "runtime.task"

local news = {}

local function whose(slug)
  local said = redis.call("HMGET", "p:model:" .. slug, "show", "away")
  return said[1] or "0", said[2] or "0"
end

-- The stream of a model as MariaDB has it now. moved: tell pages although it is whose it was.
local function place(model_id, slug, moved)
  local show, away = whose(slug)
  local row = projections.model(model_id)
  if not row then return end
  local stage = row.show_id
  -- Also when nothing changed: a repeat may be the one that arrives.
  streaming.show(row.slug, stage, stage > 0 and "show" or "show_over")
  if not moved and show == tostring(stage) and away == tostring(row.away) then return end
  local live = streaming.live(row.slug)
  local message = { type = "status", slug = row.slug, state = live and live.state or "offline",
    show = row.show_kind, away = row.away == 1, at = task.now_ms() }
  realtime.publish("status:" .. row.slug, message)
  realtime.publish("lobby", message)
end

--- What an outbox row of kind "show" asks for: { show = id } or { model = id, slug = }.
function news.tell(payload)
  if payload.model then return place(payload.model, payload.slug) end
  local show = shows.by_id(payload.show)
  if not show then return end
  -- Once it runs, others may look in; what is offered (places, tickets) is on every room page.
  place(show.model_id, show.slug, show.state ~= "requested" and show.state ~= "withdrawn")
  local message = { type = "show", show = show.id, kind = show.kind, state = show.state, slug = show.slug,
    reason = show.end_reason, at = task.now_ms() }
  realtime.publish("user:" .. show.model_account, message)
  for _, participant in ipairs(shows.participants(show.id)) do
    realtime.publish("user:" .. participant.account_id, message)
  end
end

return news
