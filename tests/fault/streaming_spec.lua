-- Run by tools/fault streaming, beside a site whose callbacks are lost, late or repeated. Models
-- broadcast and viewers come and go while services are killed. Two things must hold all the time: what
-- hooks believes and what nginx does differ for ten seconds at most; and nobody pays for time that was
-- not watched, nor watches longer than ten seconds unpaid.
local billing = require "runtime.billing"
local config = require "runtime.config"
local log = require "runtime.log"
local process = require "runtime.process"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local SECONDS = tonumber(os.getenv("FOOTLIGHT_FAULT_SECONDS") or 60)
local SEED = tonumber(os.getenv("FOOTLIGHT_FAULT_SEED") or 1)
local CREDIT, HEALED_MS, LATE_S = support.CREDIT, 10000, 3
local random = math.random
local complaints, shows, paid_total = {}, 0, 0
local over, reloaded_ms = false, 0

local function complain(...)
  complaints[#complaints + 1] = string.format(...)
  log.warn("fault.complaint", { text = complaints[#complaints] })
end

local function broadcast(model)
  while not over do
    pcall(process.run, support.encoder(model.key, 30))
    task.sleep(0.5)
  end
end

-- When bytes came, seen from the file that the player writes.
local function watch_file(path, player)
  local size, first, last = 0, nil, nil
  while not player.ended do
    task.sleep(0.2)
    local file = io.open(path, "rb")
    local now = file and file:seek("end") or 0
    if file then file:close() end
    if now > size then
      first, last, size = first or task.monotonic_ms(), task.monotonic_ms(), now
    end
  end
  return first and last - first or 0
end

local function view(model)
  local viewer = support.viewer(100)
  local ticket = support.ticket(model, { account = viewer, rate = 60 * CREDIT })
  local seconds, path = random(3, 15), os.tmpname()
  local way = random(2) == 1 and "rtmp" or "flv"
  local command = way == "rtmp" and { "rtmpdump", "-q", "--live", "--stop", tostring(seconds), "-r",
      ("%s/%s?t=%s"):format(config.get("rtmp.play_url"), model.slug, ticket), "-o", path }
    or { "curl", "-s", "--max-time", tostring(seconds), "-o", path, support.url("/media/flv/" .. ticket) }
  command.limit = seconds + 10
  local player = {}
  local watching = task.spawn(watch_file, path, player)
  local began = task.monotonic_ms()
  pcall(process.run, command)
  local connected = task.monotonic_ms() - began
  player.ended = true
  local watched = watching:wait(5)
  os.remove(path)
  local name = ("%s viewer %d of %s"):format(way, viewer, model.slug)
  local closed = pcall(testing.wait_for, function() return billing.wallet(viewer).held == 0 end, HEALED_MS / 1000, name)
  if not closed then complain("%s: the meter was open ten seconds after the player's end", name) end
  local paid = (100 * CREDIT - billing.wallet(viewer).paid) // CREDIT
  if paid > connected // 1000 + 1 + LATE_S then complain("%s: paid %d s, connected %d ms", name, paid, connected) end
  if watched - paid * 1000 > HEALED_MS then complain("%s: watched %d ms, paid %d s", name, watched, paid) end
  if watched > 0 then shows, paid_total = shows + 1, paid_total + paid end
end

local function view_on(models)
  while not over do
    local model = models[random(#models)]
    if support.state(model) == "live" then view(model) end
    task.sleep(0.3)
  end
end

-- Every difference between belief and reality, and since when it has been there. A client from before a
-- reload may live in the old worker, which no page shows: its meter and its file are looked at instead.
local function differences(slugs)
  local found = {}
  local ok, stat = pcall(support.stat)
  if not ok then return found end -- nginx changes workers at this moment
  local believed = support.rtmp_sessions()
  for id, session in pairs(believed) do
    local slug, started = session:match("^%a (%S+) %d+ %d+ (%d+)")
    if slugs[slug] and not stat.clients[id] and tonumber(started) > reloaded_ms then
      found["nginx does not know " .. id .. " " .. session] = true
    end
  end
  for id, app in pairs(stat.clients) do
    if not believed[id] then found[("hooks does not know %s in %s"):format(id, app)] = true end
  end
  return found
end

local function compare(slugs)
  local since = {}
  while not over do
    local now, found = task.monotonic_ms(), differences(slugs)
    for what, began in pairs(since) do
      if not found[what] then
        since[what] = nil
      elseif now - began > HEALED_MS then
        complain("for %d ms: %s", now - began, what)
        since[what] = math.huge -- said once
      end
    end
    for what in pairs(found) do since[what] = since[what] or now end
    task.sleep(0.3)
  end
end

local faults = {
  kill_hooks = function() support.signal("KILL", support.service_pid("hooks")) end,
  pause_hooks = function()
    local pid = support.service_pid("hooks")
    support.signal("STOP", pid)
    task.sleep(3)
    support.signal("CONT", pid)
  end,
  reload_nginx = function()
    reloaded_ms = task.now_ms() + 1000
    support.signal("HUP", support.nginx_master())
  end,
  kill_worker = function() support.signal("KILL", support.stat().worker) end,
}
local names = { "kill_hooks", "kill_worker", "pause_hooks", "reload_nginx" }

describe("streaming under faults", function()
  it("keeps belief, reality and bills together", function()
    math.randomseed(SEED)
    local models, slugs, running = {}, {}, {}
    for i = 1, 3 do
      models[i] = support.model(60 * CREDIT)
      slugs[models[i].slug] = true
      running[#running + 1] = task.spawn(broadcast, models[i])
    end
    for _ = 1, 5 do running[#running + 1] = task.spawn(view_on, models) end
    running[#running + 1] = task.spawn(compare, slugs)
    local ends = task.monotonic_ms() + SECONDS * 1000
    local count = 0
    while task.monotonic_ms() < ends do
      task.sleep(random(110, 130) / 10) -- each is judged by itself
      local name = names[random(#names)]
      log.info("fault", { name = name })
      pcall(faults[name]) -- what is restarting cannot be hurt again
      count = count + 1
    end
    over = true
    for _, work in ipairs(running) do work:wait(60) end
    print(("%d faults, %d shows, %d s paid, seed %d"):format(count, shows, paid_total, SEED))
    assert.is_true(shows > 0, "somebody watched")
    assert.same({}, complaints)
  end)
end)
