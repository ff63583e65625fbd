-- The stream `events` (written by the hooks service, which must not know MariaDB) becomes rows of
-- `broadcasts`. The cursor lies beside the stream in the same Redis: if one is lost, so is the
-- other. Reading an event twice is harmless, because each broadcast has a name of its own.

local broadcasts = require "store.broadcasts"
local log = require "runtime.log"
local redis = require "runtime.redis"
local task = require "runtime.task"

local STREAM, CURSOR = "events", "jobs:cursor:events"
local BATCH = 100
local PAUSE = 0.5 -- seconds between looks at an empty stream

local job = { name = "broadcasts" }

local function fields_of(entry)
  local fields, list = { id = entry[1] }, entry[2]
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

local function event_of(fields)
  local event = {
    event_id = fields.broadcast,
    model_id = math.tointeger(tonumber(fields.model)),
    at_ms = math.tointeger(tonumber(fields.at)),
    began_ms = math.tointeger(tonumber(fields.began)),
    reason = fields.reason,
  }
  if not event.began_ms or event.began_ms == 0 then event.began_ms = event.at_ms end
  if not event.event_id or not event.model_id or not event.at_ms then
    return nil, "an event lacks its fields"
  end
  return event
end

--- Books one event. False: it can never be booked (a model that is gone), and is passed over.
local function book(fields)
  local event, wrong = event_of(fields)
  if not event then
    log.warn("broadcasts.event", { id = fields.id, why = wrong })
    return false
  end
  if fields.type == "started" then
    return broadcasts.started(event)
  elseif fields.type == "ended" then
    return broadcasts.ended(event)
  end
  return true -- a later version's event
end

--- Books what is there; returns how many events were read. For run, and for tests.
function job.step()
  local cursor = redis.call("GET", CURSOR)
  local entries = redis.call("XRANGE", STREAM, cursor and "(" .. cursor or "-", "+", "COUNT", BATCH)
  for _, entry in ipairs(entries) do
    local fields = fields_of(entry)
    if book(fields) == false then
      log.warn("broadcasts.passed_over", { id = fields.id, broadcast = fields.broadcast })
    end
    redis.call("SET", CURSOR, fields.id)
  end
  return #entries
end

function job.run()
  while true do
    if job.step() < BATCH then task.sleep(PAUSE) end
  end
end

return job
