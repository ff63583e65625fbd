-- Recordings by nginx-rtmp's own recorder: begun when the model wants them, still during a show, finished into
-- files that play, and seen by nobody else.
local billing = require "runtime.billing"
local config = require "runtime.config"
local db = require "runtime.db"
local file = require "runtime.file"
local process = require "runtime.process"
local recordings = require "store.recordings"
local shows = require "store.shows"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local RATE = 60 * support.CREDIT

local function files_of(model)
  local found = {}
  for _, name in ipairs(file.list(config.get "media.recordings") or {}) do
    if name:find("^" .. model.slug .. "%-%d+%.") then found[#found + 1] = name end
  end
  return found
end

local function wait_ready(model, count)
  return testing.wait_for(function()
    local list = recordings.of_model(model.id)
    if #list < count then return nil end
    for _, row in ipairs(list) do if row.state ~= "ready" then return nil end end
    return list
  end, 40, count .. " recordings")
end

describe("recordings", function()
  it("are made of a broadcast whose model wants them, and of no other", function()
    local model, other = support.model(), support.model()
    recordings.set_wanted(model.id, true)
    local publisher <close> = support.publish(model)
    local second <close> = support.publish(other)
    testing.wait_for(function() return #files_of(model) == 1 end, 10, "the recorder")
    task.sleep(4)
    publisher:stop()
    second:stop()
    local row = wait_ready(model, 1)[1]
    assert.is_true(row.seconds >= 2 and row.bytes > 10000, row.seconds .. " s")
    assert.equal(0, #files_of(other))
    local path = ("%s/%s.mp4"):format(config.get "media.recordings", row.name)
    local probe = assert(process.run { "ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", path,
      limit = 20 }).output
    assert.truthy(probe:find("h264", 1, true) and probe:find("aac", 1, true))
    -- Their address in nginx is for nobody to ask for, and a guest has no studio.
    for _, address in ipairs { "/recordings/" .. row.name .. ".mp4", "/recordings/", "/recordings/../recordings/" .. row.name .. ".mp4" } do
      assert.equal(404, support.get(address).status)
    end
    local guest = support.get("/studio/recordings/" .. row.id .. "/video")
    assert.is_nil(guest.body:find("ftyp", 1, true))
  end)

  it("stand still during a show and go on after it", function()
    local model, viewer = support.model(), support.viewer(600)
    recordings.set_wanted(model.id, true)
    local version = db.one("SELECT version FROM room_settings WHERE model_id = ?", model.id).version
    assert.is_true(shows.set_prices { model_id = model.id, version = version, private_rate = RATE, private_minimum = 1,
      group_minimum = 1, group_size = 2 })
    local publisher <close> = support.publish(model)
    testing.wait_for(function() return #files_of(model) == 1 end, 10, "the recorder")
    task.sleep(2)
    local show = assert(shows.request { model_id = model.id, account_id = viewer, rate = RATE, minimum = 1 })
    assert(billing.hold { op = ("show:%d:%d"):format(show.id, viewer), account = viewer, amount = RATE,
      payee = model.id, type = "private", seconds = 600 })
    assert.is_true(shows.accept(show.id, RATE))
    local row = wait_ready(model, 1)[1]
    task.sleep(4) -- longer than nginx is told again
    assert.equal(1, #files_of(model))
    assert.equal(row.name .. ".mp4", files_of(model)[1])
    shows.finish(show.id, "model")
    testing.wait_for(function() return #files_of(model) == 2 end, 10, "the recorder again")
    task.sleep(2)
    recordings.set_wanted(model.id, false)
    assert.equal(2, #wait_ready(model, 2))
    publisher:stop()
  end)
end)
