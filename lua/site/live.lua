--- Who is live, from the main Redis (docs/house.md: `live`, `live:<slug>`), looked up at most once a
-- second in each process: the front page is asked for far more often than shows begin.
local cache = require "runtime.cache"
local log = require "runtime.log"
local realtime = require "runtime.realtime"
local redis = require "runtime.redis"
local streaming = require "runtime.streaming"

local live = {}

local KEEP_SECONDS = 1

local function fields(reply)
  local map = {}
  for i = 1, #reply, 2 do map[reply[i]] = reply[i + 1] end
  return map
end

local function watching(slug)
  local ok, presence = pcall(realtime.presence, "chat:" .. slug)
  if not ok then return 0 end
  return type(presence) == "table" and presence.count or tonumber(presence) or 0
end

local function entry(slug, map)
  if not map or not map.state then return nil end
  return {
    state = map.state, since = tonumber(map.since) or 0, thumb = map.thumb,
    watching = watching(slug),
  }
end

local function read_all()
  local slugs = streaming.list()
  if #slugs == 0 then return {} end
  local replies = redis.pipeline(function(p)
    for _, slug in ipairs(slugs) do p.call("HGETALL", "live:" .. slug) end
  end)
  local found = {}
  for i, slug in ipairs(slugs) do found[slug] = entry(slug, fields(replies[i])) end
  return found
end

--- slug → { state, since (ms), thumb, watching } of every room that is not offline. Without Redis
-- every room looks offline, and the log says why.
function live.all()
  local known = cache.get("site.live")
  if known then return known end
  local ok, found = pcall(read_all)
  if not ok then
    log.warn("it is not known who is live", { error = tostring(found) })
    return {}
  end
  cache.set("site.live", found, KEEP_SECONDS)
  return found
end

--- The state of one room, fresh.
function live.of(slug)
  local ok, found = pcall(function() return entry(slug, streaming.live(slug)) end)
  if not ok then
    log.warn("it is not known whether a room is live", { slug = slug, error = tostring(found) })
  end
  return ok and found or { state = "offline", since = 0, watching = 0 }
end

return live
