-- Whatever ends it, the picture is gone: in under two seconds for players of RTMP and FLV, for a player of
-- HLS that plays at the speed of time in under one segment and two seconds.
local accounts = require "store.accounts"
local billing = require "runtime.billing"
local config = require "runtime.config"
local db = require "runtime.db"
local file = require "runtime.file"
local process = require "runtime.process"
local redis = require "runtime.redis"
local shows = require "store.shows"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local CREDIT = support.CREDIT
local RATE = 60 * CREDIT
local SOON, SEGMENT = 2000, 2000 -- ms

local function size_of(path)
  local handle = io.open(path, "rb")
  local size = handle and handle:seek("end") or 0
  if handle then handle:close() end
  return size
end

-- ffmpeg plays the address at the speed of time and writes down what it shows. at(): when it last had
-- something to show (monotonic ms).
local function player(address)
  local path = os.tmpname()
  local running = task.spawn(process.run, { "ffmpeg", "-nostdin", "-v", "error", "-y", "-re", "-live_start_index", "-1",
    "-i", address, "-c", "copy", "-flush_packets", "1", "-f", "mpegts", path, limit = 90 })
  local found = { grew = 0, size = 0 }
  local watching = task.spawn(function()
    while true do
      local size = size_of(path)
      if size > found.size then found.size, found.grew = size, task.monotonic_ms() end
      task.sleep(0.05)
    end
  end)
  function found:stop()
    running:cancel("the test is over")
    watching:cancel("the test is over")
    pcall(running.wait, running, 5)
    os.remove(path)
  end
  return setmetatable(found, { __close = function(self) self:stop() end })
end

-- Three players with tickets of `terms`; when each shows something, `cut` does its work (it returns when, if
-- that is later) and each stops in its time.
local function ends_the_picture(model, terms, cut)
  local flv_ticket, hls_ticket = support.ticket(model, terms), support.ticket(model, terms)
  local playlist = "/media/hls/" .. hls_ticket .. "/index.m3u8"
  testing.wait_for(function() return support.get(playlist).status == 200 end, 20, "the playlist")
  local rtmp = task.spawn(support.play, model, support.ticket(model, terms), 60)
  local flv = task.spawn(support.flv, flv_ticket, 60)
  local hls <close> = player(support.url(playlist))
  support.wait_watching(flv_ticket)
  testing.wait_for(function() return hls.size > 2000 end, 15, "the HLS player's picture")
  local began = cut() or task.monotonic_ms()
  local flv_result = flv:wait(30)
  local flv_took = task.monotonic_ms() - began
  local rtmp_bytes = rtmp:wait(30)
  local rtmp_took = task.monotonic_ms() - began
  assert.is_true(flv_result.bytes > 1000 and rtmp_bytes > 1000)
  assert.is_true(flv_took < SOON, ("FLV went on for %d ms"):format(flv_took))
  assert.is_true(rtmp_took < SOON, ("RTMP went on for %d ms"):format(rtmp_took))
  -- The longest that is allowed, and twice as long to see that nothing more comes.
  task.sleep((SEGMENT + SOON) * 2 / 1000)
  local hls_took = hls.grew - began
  assert.is_true(hls_took < SEGMENT + SOON, ("HLS went on for %d ms"):format(hls_took))
  assert.is_true(support.get(playlist).status >= 400)
end

describe("the picture is gone in time", function()
  it("when the credits end", function()
    local model, viewer = support.model(RATE), support.viewer(60)
    local publisher <close> = support.publish(model)
    ends_the_picture(model, { account = viewer, rate = RATE }, function()
      -- Three meters on one wallet: what is left is theirs for a few seconds more. A meter that has nothing
      -- reserves nothing, so the last credit is spent when it is cut.
      local wallet = billing.wallet(viewer)
      local spare = wallet.paid + wallet.bonus
      if spare > 0 then
        billing.tip { op = "spec:" .. model.slug, account = viewer, amount = spare, payee = model.id, slug = model.slug }
      end
      testing.wait_for(function() return billing.wallet(viewer).held == 0 end, 60, "the last credit")
      return task.monotonic_ms()
    end)
    assert.equal(0, billing.wallet(viewer).paid)
    publisher:stop()
  end)

  it("when the viewer is banned", function()
    local model, viewer = support.model(RATE), support.viewer(300)
    local publisher <close> = support.publish(model)
    ends_the_picture(model, { account = viewer, rate = RATE }, function()
      local began = task.monotonic_ms()
      accounts.set_state(viewer, "banned")
      return began
    end)
    publisher:stop()
  end)

  it("when the stream is taken down, its pictures with it", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    local thumb = testing.wait_for(function() return streaming.live(model.slug).thumb end, 20, "the thumbnail")
    for _, width in ipairs { 320, 640, 1280 } do
      assert.equal(200, support.get(("/thumbs/%s/%s-%d.webp"):format(model.slug, thumb, width)).status)
    end
    ends_the_picture(model, {}, function()
      local began = task.monotonic_ms()
      streaming.drop(model.slug, "taken down")
      return began
    end)
    for _, width in ipairs { 320, 640, 1280 } do
      assert.equal(404, support.get(("/thumbs/%s/%s-%d.webp"):format(model.slug, thumb, width)).status)
    end
    assert.equal(0, #(file.list(config.get("media.thumbs") .. "/" .. model.slug) or {}))
    publisher:stop()
  end)

  it("when a private show ends", function()
    local model, viewer = support.model(), support.viewer(600)
    local version = db.one("SELECT version FROM room_settings WHERE model_id = ?", model.id).version
    assert.is_true(shows.set_prices { model_id = model.id, version = version, private_rate = RATE, private_minimum = 1,
      group_minimum = 1, group_size = 2 })
    local publisher <close> = support.publish(model)
    local show = assert(shows.request { model_id = model.id, account_id = viewer, rate = RATE, minimum = 1 })
    assert(billing.hold { op = ("show:%d:%d"):format(show.id, viewer), account = viewer, amount = RATE,
      payee = model.id, type = "private", seconds = 600 })
    assert.is_true(shows.accept(show.id, RATE))
    -- A ticket that comes before hooks and media know of the show is refused for good.
    testing.wait_for(function() return redis.call("HGET", "p:model:" .. model.slug, "show") == tostring(show.id) end, 5,
      "the projection")
    ends_the_picture(model, { account = viewer, rate = RATE, free = 60, policy = "private", show = show.id }, function()
      local began = task.monotonic_ms()
      assert.equal("ending", shows.finish(show.id, "model"))
      return began
    end)
    publisher:stop()
  end)
end)
