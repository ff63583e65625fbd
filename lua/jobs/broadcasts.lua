-- The stream `events` (written by the hooks service, which must not know MariaDB) becomes rows of
-- `broadcasts`. The cursor lies beside the stream in the same Redis: if one is lost, so is the
-- other. Reading an event twice is harmless, because each broadcast has a name of its own.

local broadcasts = require "store.broadcasts"
local log = require "runtime.log"
local recordings = require "store.recordings"
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

--- Books one event. False: it can never be booked (its model is gone), and is passed over.
local function book(fields)
  local model, at = math.tointeger(tonumber(fields.model)), math.tointeger(tonumber(fields.at))
  local began = math.tointeger(tonumber(fields.began)) or 0
  if fields.type == "recorded" then
    local name = (fields.path or ""):match("([a-z0-9-]+%-%d+)%.flv$")
    if not (name and fields.slug and at) then return false end
    recordings.add { name = name, slug = fields.slug, bytes = 0, at = at }
    return true
  end
  if fields.type ~= "started" and fields.type ~= "ended" then return true end -- of a later version
  if not (fields.broadcast and model and at) then return false end
  -- The end tells when it began, too: if the beginning was trimmed away, nothing is missing.
  local known = broadcasts.began { event = fields.broadcast, model = model, at = began > 0 and began or at }
  if not known then return false end
  if fields.type == "ended" then
    local reason = fields.reason:gsub("[^ -~]", "?"):sub(1, 40)
    broadcasts.ended { event = fields.broadcast, at = at, reason = reason ~= "" and reason or "ended" }
  end
  return true
end

--- Books what is there; returns how many events were read. For run, and for tests.
function job.step()
  local cursor = redis.call("GET", CURSOR)
  local entries = redis.call("XRANGE", STREAM, cursor and "(" .. cursor or "-", "+", "COUNT", BATCH)
  for _, entry in ipairs(entries) do
    local fields = fields_of(entry)
    if not book(fields) then
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
