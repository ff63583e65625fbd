-- Two hosts with an nginx-rtmp each, one hooks service for both (tools/test hosts): where a broadcast is,
-- how players at the other host get it, and that orders find their way.
local billing = require "runtime.billing"
local config = require "runtime.config"
local http = require "runtime.http"
local process = require "runtime.process"
local redis = require "runtime.redis"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local CREDIT = support.CREDIT
local base = assert(tonumber(os.getenv("FOOTLIGHT_SECOND_HOST")), "tools/test hosts starts a second host")
local hosts = {
  main = { rtmp = "rtmp://127.0.0.1:" .. base - 1, stat = config.get("rtmp.stat"), http = "http://127.0.0.1:" .. base - 10 },
  b = { rtmp = "rtmp://127.0.0.1:" .. base + 9, stat = config.get("rtmp.hosts.b.stat"), http = "http://127.0.0.1:" .. base },
}

local function publish_at(host, model)
  local command = support.encoder(model.key, 100)
  command[#command] = ("%s/publish/%s"):format(hosts[host].rtmp, model.key)
  return support.publish(model, command)
end

local function play_at(host, model, ticket, seconds)
  local path, began = os.tmpname(), task.monotonic_ms()
  process.run { "rtmpdump", "-q", "--live", "--stop", tostring(seconds), "-o", path, "-r",
    ("%s/live/%s?t=%s"):format(hosts[host].rtmp, model.slug, ticket), limit = seconds + 5 }
  local took = task.monotonic_ms() - began
  local file = assert(io.open(path, "rb"))
  local bytes = file:seek("end")
  file:close()
  os.remove(path)
  return bytes, took
end

-- The streams of application live that a host's nginx has, with how many clients each.
local function streams_at(host)
  local page = assert(http.request { url = hosts[host].stat }).body
  local found = {}
  for app in page:gmatch("<application>(.-)</application>") do
    if app:match("<name>(.-)</name>") == "live" then
      for stream in app:gmatch("<stream>(.-)</stream>") do
        local _, clients = stream:gsub("<client>", "")
        found[stream:match("<name>(.-)</name>")] = clients
      end
    end
  end
  return found
end

local function wait_gone(model)
  testing.wait_for(function()
    return not streams_at("main")[model.slug] and not streams_at("b")[model.slug]
  end, 15, "both hosts to be rid of " .. model.slug)
end

local function other(host) return host == "b" and "main" or "b" end

for host in pairs(hosts) do
  describe("a broadcast at host " .. host, function()
    it("is recorded there, and played there", function()
      local model = support.model(0)
      local publisher <close> = publish_at(host, model)
      assert.equal(host, redis.call("HGET", "live:" .. model.slug, "host"))
      assert.is_true(play_at(host, model, support.ticket(model), 3) > 1000)
      assert.is_nil(streams_at(other(host))[model.slug])
      publisher:stop()
    end)

    it("is pulled once by the other host for all its players, and paid and cut as anywhere", function()
      local model, viewer = support.model(60 * CREDIT), support.viewer(6)
      local publisher <close> = publish_at(host, model)
      local there = other(host)
      local rich = support.ticket(model, { account = support.viewer(100), rate = 60 * CREDIT })
      local longer = task.spawn(play_at, there, model, rich, 14)
      local bytes, took = play_at(there, model, support.ticket(model, { account = viewer, rate = 60 * CREDIT }), 12)
      assert.is_true(bytes > 1000)
      assert.is_true(took > 5000 and took < 9500, ("cut after %d ms"):format(took))
      assert.equal(0, support.settled(viewer).paid)
      assert.equal(2, streams_at(there)[model.slug], "the pull and the other player")
      assert.is_true(longer:wait(30) > 1000)
      testing.wait_for(function() return not streams_at(there)[model.slug] end, 15, "the pull to end with its last player")
      assert.equal("live", support.state(model))
      publisher:stop()
    end)

    it("is watched by FLV and HLS through the other host", function()
      local model = support.model(0)
      local publisher <close> = publish_at(host, model)
      local place = hosts[other(host)].http
      local flv = assert(process.run { "ffprobe", "-v", "error", "-analyzeduration", "2000000", "-show_entries",
        "stream=codec_name", "-of", "csv=p=0", place .. "/media/flv/" .. support.ticket(model), limit = 20 })
      assert.is_true(flv.output:find("h264", 1, true) ~= nil, flv.output .. flv.errors)
      local list = ("%s/media/hls/%s/index.m3u8"):format(place, support.ticket(model))
      local agent = { ["User-Agent"] = "spec" }
      local playlist = testing.wait_for(function()
        local answer = assert(http.request { url = list, headers = agent })
        return answer.status == 200 and answer.body
      end, 20, "the playlist")
      local segment = place .. playlist:match("\n(/segments/[^\n]+)")
      local answer = assert(http.request { url = segment, headers = agent })
      assert.equal(200, answer.status)
      assert.is_true(#answer.body > 1000)
      publisher:stop()
    end)

    it("ends for the players of both hosts at once, and nobody pays for more", function()
      local model = support.model(60 * CREDIT)
      local publisher <close> = publish_at(host, model)
      local viewers, players = {}, {}
      for i, place in ipairs { host, other(host) } do
        viewers[i] = support.viewer(100)
        local ticket = support.ticket(model, { account = viewers[i], rate = 60 * CREDIT })
        players[i] = task.spawn(play_at, place, model, ticket, 60)
        testing.wait_for(function() return billing.wallet(viewers[i]).held > 0 end, 10, "a meter")
      end
      task.sleep(2) -- of watching
      streaming.drop(model.slug, "staff", "publisher")
      local began = task.monotonic_ms()
      for _, player in ipairs(players) do player:wait(20) end
      assert.is_true(task.monotonic_ms() - began < 4000)
      for _, viewer in ipairs(viewers) do
        local paid = 100 * CREDIT - support.settled(viewer).paid
        assert.is_true(paid > 0 and paid <= 8 * CREDIT, tostring(paid))
      end
      wait_gone(model)
      publisher:stop()
    end)
  end)
end

describe("a model", function()
  it("has one broadcast over all hosts; who took its place is found out at the other host", function()
    local model = support.model(0)
    local publisher <close> = publish_at("b", model)
    task.sleep(6) -- until it counts as sending, not as beginning
    local second = support.encoder(model.key, 5)
    second[#second] = ("%s/publish/%s"):format(hosts.main.rtmp, model.key)
    assert.is_true(assert(process.run(second)).status ~= 0, "a second encoder was let in")
    assert.equal("b", redis.call("HGET", "live:" .. model.slug, "host"))
    publisher:stop()
    local again <close> = publish_at("main", model)
    assert.equal("main", redis.call("HGET", "live:" .. model.slug, "host"))
    again:stop()
  end)
end)

describe("the hooks service", function()
  it("is killed and knows the sessions of both hosts again", function()
    local model = support.model(0)
    local publisher <close> = publish_at("b", model)
    local player = task.spawn(play_at, "main", model, support.ticket(model), 12)
    testing.wait_for(function() return (streams_at("main")[model.slug] or 0) >= 2 end, 10, "the player")
    support.signal("KILL", support.service_pid("hooks"))
    local bytes, took = player:wait(30)
    assert.is_true(bytes > 1000 and took > 11000, ("the player was cut after %d ms"):format(took))
    assert.equal("live", support.state(model))
    publisher:stop()
  end)
end)
