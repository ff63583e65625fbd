--- Recordings: begun and ended at nginx's recorder by what the projection says (never during a show), made
-- into files that browsers play, and removed when they are old. nginx's word that a file is finished
-- (on_record_done) comes by the stream `events`; a file whose word was lost is found in the folder.
local config = require "runtime.config"
local file = require "runtime.file"
local http = require "runtime.http"
local log = require "runtime.log"
local process = require "runtime.process"
local recordings = require "store.recordings"
local redis = require "runtime.redis"
local streaming = require "runtime.streaming"
local task = require "runtime.task"

local LOOK, WORK = 0.5, 5      -- seconds between looks at what is live, and at what is to be done
local AGAIN_MS = 3000          -- nginx is told again: a worker of its may be new
local STILL_SECONDS = 60       -- a file that nobody has written to for so long is finished
local CONVERT_SECONDS = 1800

local job = { name = "recordings" }

local told = {} -- slug → { on = bool, at = monotonic ms }

local function folder() return config.get "media.recordings" end
local function path_of(name, ending) return ("%s/%s.%s"):format(folder(), name, ending) end

-- At the host where the broadcast came in; the others only pull it.
local function order(slug, verb, host)
  local control = config.get(("rtmp.hosts.%s.control"):format(host or "main")) or config.get "rtmp.control"
  local ok, answer = pcall(http.request, { url = ("%s/record/%s?app=live&name=%s&rec=archive"):format(
    control, verb, slug), timeout = 2 })
  return ok and answer ~= nil and (answer.status == 200 or answer.status == 204)
end

--- One look at what is live: says to nginx what should be recorded and what not.
function job.control()
  local now, live = task.monotonic_ms(), {}
  local full = config.get "media.recordings_bytes"
  local kept = recordings.kept()
  local here = config.get("rtmp.host") or "main"
  for _, slug in ipairs(streaming.list()) do
    -- The files lie where the stream comes in: another host's nginx writes them out of our reach.
    if (redis.call("HGET", "live:" .. slug, "host") or "main") ~= here then goto continue end
    live[slug] = true
    local about = streaming.live(slug)
    local said = redis.call("HMGET", "p:model:" .. slug, "record", "show", "state")
    local wanted = said[1] == "1" and (said[2] or "0") == "0" and said[3] == "approved"
      and about ~= nil and about.state == "live" and (kept[slug] or 0) < full
    local last = told[slug]
    if wanted and (not last or not last.on or now - last.at > AGAIN_MS) then
      if order(slug, "start", about.host) then told[slug] = { on = true, at = now } end
    elseif not wanted and last and last.on then
      if order(slug, "stop", about and about.host) then told[slug] = { on = false, at = now } end
    elseif not wanted and not last and said[1] then
      -- Begun by a process before us.
      if order(slug, "stop", about and about.host) then told[slug] = { on = false, at = now } end
    end
    ::continue::
  end
  for slug in pairs(told) do
    if not live[slug] then told[slug] = nil end
  end
end

local function seconds_of(path)
  local result = process.run { "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of",
    "default=noprint_wrappers=1:nokey=1", path, limit = 60 }
  return result and math.tointeger((tonumber(result.output) or 0) // 1) or 0
end

local function convert(row)
  local raw, ready = path_of(row.name, "flv"), path_of(row.name, "mp4")
  if not file.stat(raw) then
    if not file.stat(ready) then
      recordings.done { id = row.id, state = "failed" }
      return
    end
  else
    local part = path_of(row.name, "part")
    local result = process.run { "nice", "-n", "15", "ffmpeg", "-nostdin", "-v", "error", "-y", "-i", raw, "-c", "copy",
      "-movflags", "+faststart", "-f", "mp4", part, limit = CONVERT_SECONDS }
    if not result or result.status ~= 0 or not file.rename(part, ready) then
      log.warn("recordings.not_converted", { name = row.name, error = result and (result.errors or ""):sub(1, 200) })
      file.remove(part)
      recordings.done { id = row.id, state = "failed", bytes = file.stat(raw).size }
      return
    end
    file.remove(raw)
  end
  recordings.done { id = row.id, state = "ready", seconds = seconds_of(ready), bytes = file.stat(ready).size }
end

local function remove_files(name)
  for _, ending in ipairs { "flv", "mp4", "part" } do file.remove(path_of(name, ending)) end
end

--- Removes a recording, row and files.
function job.remove(row)
  if recordings.delete(row.id) then remove_files(row.name) end
end

-- What lies in the folder and has no row: raw files that nginx has finished are taken in, the rest goes.
local function sweep()
  for _, entry in ipairs(file.list(folder()) or {}) do
    local name, ending = entry:match("^([a-z0-9-]+%-%d+)%.(%l%w+)$")
    local about = name and file.stat(folder() .. "/" .. entry)
    if about and os.time() - about.modified // 1000 > STILL_SECONDS and not recordings.by_name(name) then
      local slug = name:match("^(.*)%-%d+$")
      local taken = ending == "flv" and recordings.add { name = name, slug = slug, bytes = about.size, at = about.modified }
      if not taken then remove_files(name) end
    end
  end
end

--- Does what is to be done: returns how many recordings were converted.
function job.step()
  local raw = recordings.raw()
  for _, row in ipairs(raw) do convert(row) end
  for _, row in ipairs(recordings.past(config.get "media.recordings_days")) do job.remove(row) end
  sweep()
  return #raw
end

local function loop(pause, fn)
  local trouble = false
  while true do
    local ok, reason = pcall(fn)
    if not ok and not trouble then log.warn("recordings.wait", { error = tostring(reason) }) end
    trouble = not ok
    task.sleep(pause)
  end
end

function job.run()
  task.spawn(loop, LOOK, job.control)
  loop(WORK, job.step)
end

return job
