-- Pictures of what is live, from the key frames that nginx-rtmp records (media.keyframes): three
-- widths of WebP, every half minute and soon after a start. <media.thumbs>/<slug>/<version>-<width>
-- .webp, and the version in live:<slug>, so that a page names only pictures that are whole. Paid
-- rooms and shows have none, and lose the ones they had.

local config = require "runtime.config"
local crypto = require "runtime.crypto"
local file = require "runtime.file"
local log = require "runtime.log"
local process = require "runtime.process"
local redis = require "runtime.redis"
local streaming = require "runtime.streaming"
local task = require "runtime.task"

local WIDTHS = { 320, 640, 1280 }
local EVERY_MS = 30000
local LOOK = 1          -- seconds between looks at what is live
local RECORDED_MS = 10000 -- at most that much picture is in one recorded file
local KEEP = 2          -- versions; a page that is open still names the last one
local FFMPEG_SECONDS = 20

local job = { name = "thumbnails" }

-- slug → { due = monotonic ms, broadcast = its id, versions = { oldest, …, newest } }; rebuilt from
-- the folders after a restart.
local known = {}

local function folder_of(slug)
  return config.get("media.thumbs") .. "/" .. slug
end

local function picture(slug, version, width)
  return ("%s/%d-%d.webp"):format(folder_of(slug), version, width)
end

local function forget(slug, version)
  for _, width in ipairs(WIDTHS) do file.remove(picture(slug, version, width)) end
end

local function versions_of(slug)
  local seen, versions = {}, {}
  for _, name in ipairs(file.list(folder_of(slug)) or {}) do
    local version = math.tointeger(tonumber(name:match("^(%d+)%-%d+%.webp$")))
    if version and not seen[version] then
      seen[version] = true
      versions[#versions + 1] = version
    elseif name:sub(1, 1) == "." then
      file.remove(folder_of(slug) .. "/" .. name) -- left by a run that was killed
    end
  end
  table.sort(versions)
  return versions
end

local function state_of(slug)
  local state = known[slug]
  if not state then
    state = { due = 0, versions = versions_of(slug) }
    known[slug] = state
  end
  return state
end

--- Removes every picture of a stream. For paid rooms and take-downs.
function job.purge(slug)
  for _, version in ipairs(versions_of(slug)) do forget(slug, version) end
  known[slug] = nil
  redis.eval("if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HDEL', KEYS[1], 'thumb') end",
    { "live:" .. slug }, {})
end

-- The recorder keeps two key frames in one file: both must be younger than the show that ended last.
local function is_public(slug, show_at)
  if show_at == 0 then return true end
  local about = file.stat(config.get("media.keyframes") .. "/" .. slug .. ".flv")
  return about ~= nil and about.modified > show_at + RECORDED_MS
end

-- One ffmpeg reads the last key frame once and writes all widths; names become visible when whole.
local function render(slug, version)
  local source = config.get("media.keyframes") .. "/" .. slug .. ".flv"
  if not file.stat(source) then return nil, "no key frame yet" end
  file.mkdir(folder_of(slug))
  local graph, chains = {}, {}
  for i, width in ipairs(WIDTHS) do
    local height = width * 9 // 16
    chains[i] = ("[s%d]"):format(i)
    graph[i] = ("[s%d]scale=%d:%d:force_original_aspect_ratio=increase:flags=area,crop=%d:%d[o%d]")
      :format(i, width, height, width, height, i)
  end
  local arguments = {
    "ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1", "-i", source, "-an",
    "-filter_complex", ("[0:v]split=%d%s;%s"):format(#WIDTHS, table.concat(chains), table.concat(graph, ";")),
    limit = FFMPEG_SECONDS,
  }
  for i, width in ipairs(WIDTHS) do
    for _, word in ipairs { "-map", ("[o%d]"):format(i), "-frames:v", "1", "-c:v", "libwebp", "-quality", "75",
      "-f", "webp", ("%s/.%d-%d.part"):format(folder_of(slug), version, width) } do
      arguments[#arguments + 1] = word
    end
  end
  local result, reason = process.run(arguments)
  if not result then return nil, reason end
  if result.status ~= 0 then return nil, (result.errors or ""):sub(1, 300) end
  for _, width in ipairs(WIDTHS) do
    local part = ("%s/.%d-%d.part"):format(folder_of(slug), version, width)
    local ok, why = file.rename(part, picture(slug, version, width))
    if not ok then return nil, why end
  end
  return true
end

local function refresh(slug, state)
  -- By time, and not to be guessed by those who may not see the room.
  local version = os.time() * 1000000000 + crypto.random_below(1000000000)
  local ok, reason = render(slug, version)
  if not ok then
    -- The recorder rewrites its file while we read: the next look finds it whole.
    log.debug("thumbnails.later", { slug = slug, reason = reason })
    state.due = task.monotonic_ms() + 2000
    return
  end
  -- Only if it is still live: a late picture must not bring back the hash of a stream that ended.
  redis.eval("if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'thumb', ARGV[1]) end",
    { "live:" .. slug }, { version })
  state.due = task.monotonic_ms() + EVERY_MS
  state.versions[#state.versions + 1] = version
  while #state.versions > KEEP do forget(slug, table.remove(state.versions, 1)) end
end

--- Looks once at all that is live; renders what is due.
function job.step()
  local live = {}
  for _, slug in ipairs(streaming.list()) do
    live[slug] = true
    local record = streaming.live(slug)
    local said = redis.call("HMGET", "p:model:" .. slug, "rate", "show", "show_at")
    local state = state_of(slug)
    if (tonumber(said[1]) or 0) > 0 or (tonumber(said[2]) or 0) > 0 then
      if #state.versions > 0 then job.purge(slug) end
    elseif record and record.state == "live" then
      if record.broadcast ~= state.broadcast then -- a new show waits for no interval
        state.broadcast, state.due = record.broadcast, 0
      end
      if task.monotonic_ms() >= state.due and is_public(slug, tonumber(said[3]) or 0) then refresh(slug, state) end
    end
  end
  for slug in pairs(known) do
    if not live[slug] then job.purge(slug) end
  end
end

function job.run()
  -- Folders of streams that ended while nobody was looking.
  for _, name in ipairs(file.list(config.get("media.thumbs")) or {}) do
    if name:match("^[a-z0-9-]+$") then state_of(name) end
  end
  while true do
    job.step()
    task.sleep(LOOK)
  end
end

return job
