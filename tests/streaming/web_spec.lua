-- Web viewers: playlists, keys, segments and FLV by ticket.
local billing = require "runtime.billing"
local config = require "runtime.config"
local process = require "runtime.process"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local CREDIT = support.CREDIT

local function playlist(ticket) return support.get("/media/hls/" .. ticket .. "/index.m3u8") end

local function wait_playlist(ticket)
  return testing.wait_for(function()
    local answer = playlist(ticket)
    return answer.status == 200 and answer
  end, 15, "the playlist").body
end

describe("HLS", function()
  it("is played through the ticket and by nothing else", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model)
    local text = wait_playlist(ticket)
    local segment, key = text:match("\n(/segments/[^\n]+)"), text:match('URI="(%d+%.key)"')
    assert.equal(200, support.get(segment).status)
    assert.equal(16, #support.get("/media/hls/" .. ticket .. "/" .. key).body)
    -- The segment without its signature, with another, past its time, and the plain files.
    local path, query = segment:match("^(.-)(%?.*)$")
    assert.equal(403, support.get(path).status)
    assert.equal(403, support.get(path .. query:gsub("s=.", "s=_", 1)).status)
    assert.equal(403, support.get((path:gsub("%d+%.ts", "999.ts")) .. query).status)
    for _, other in ipairs { "/segments/" .. model.slug .. "/index.m3u8", "/segments/" .. model.slug .. "/",
      "/segments/" .. model.slug .. "/" .. key, "/media/hls/" .. model.slug .. "/index.m3u8", "/k/" .. model.slug .. "/" .. key } do
      assert.is_true(support.get(other).status >= 400, other)
    end
    -- A key is for who has begun to watch.
    local unused = support.ticket(model)
    assert.equal(403, support.get("/media/hls/" .. unused .. "/" .. key).status)
    publisher:stop()
  end)

  it("is decoded by a player that others wrote", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model)
    wait_playlist(ticket)
    local outcome = assert(process.run { "ffprobe", "-v", "error", "-user_agent", "spec", "-allowed_extensions", "ALL",
      "-show_entries", "stream=codec_name", "-of", "csv=p=0",
      support.url("/media/hls/" .. ticket .. "/index.m3u8"), limit = 20 })
    assert.truthy(outcome.output:find("h264"), outcome.errors)
    assert.truthy(outcome.output:find("aac"))
    publisher:stop()
  end)

  it("charges while it is polled, and stops with the polling", function()
    local model = support.model(60 * CREDIT)
    local viewer = support.viewer(100)
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model, { account = viewer, rate = 60 * CREDIT })
    wait_playlist(ticket)
    local polled = task.monotonic_ms()
    testing.wait_for(function()
      playlist(ticket)
      return task.monotonic_ms() - polled > 2500
    end, 5)
    local wallet = support.settled(viewer)
    local spent = 100 * CREDIT - wallet.paid
    assert.is_true(spent >= 2 * CREDIT and spent <= 18 * CREDIT, tostring(spent))
    -- A session that ended does not go on.
    assert.equal(403, playlist(ticket).status)
    publisher:stop()
  end)

  it("refuses tickets that are forged, expired or revoked", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model)
    wait_playlist(ticket)
    local forged = (ticket:sub(1, -2)) .. (ticket:sub(-1) == "A" and "Q" or "A")
    assert.equal(403, playlist(forged).status)
    assert.equal(403, playlist("nonsense").status)
    assert.equal(403, playlist(support.ticket(model, { expires = 1 })).status)
    streaming.revoke(ticket, "spec")
    testing.wait_for(function() return playlist(ticket).status == 403 end, 5, "the revocation")
    local unused = support.ticket(model)
    streaming.revoke(unused, "spec")
    assert.equal(403, playlist(unused).status)
    publisher:stop()
  end)

  it("is one viewer's: a second place takes it over for good", function()
    local http = require "runtime.http"
    local model = support.model()
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model)
    wait_playlist(ticket)
    local function from(agent)
      return assert(http.request { url = support.url("/media/hls/" .. ticket .. "/index.m3u8"),
        headers = { ["User-Agent"] = agent } }).status
    end
    assert.equal(200, from("another"))
    assert.equal(403, from("spec"))
    assert.equal(200, from("another"))
    publisher:stop()
  end)
end)

describe("FLV", function()
  it("starts with a header that says which tracks there are", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    local flv = support.flv(support.ticket(model), 3)
    assert.equal(200, flv.status)
    assert.equal("FLV\1\5\0\0\0\9\0\0\0\0", flv.head)
    assert.is_true(flv.bytes > 10000)
    publisher:stop()
  end)

  it("is cut at the second at which the credits end", function()
    local model = support.model(60 * CREDIT)
    local viewer = support.viewer(3)
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model, { account = viewer, rate = 60 * CREDIT })
    local flv = support.flv(ticket, 20)
    assert.is_true(flv.took < 10000)
    assert.is_true(flv.bytes > 10000)
    assert.equal(0, support.settled(viewer).paid)
    assert.equal('{"state":"over","reason":"funds"}', support.get("/media/state/" .. ticket).body)
    assert.equal(403, support.flv(ticket, 3).status)
    publisher:stop()
  end)

  it("ends with the model's leaving, and charges nothing after it", function()
    local model = support.model(60 * CREDIT)
    local viewer = support.viewer(100)
    local publisher <close> = support.publish(model)
    local watching = task.spawn(support.flv, support.ticket(model, { account = viewer, rate = 60 * CREDIT }), 30)
    testing.wait_for(function() return billing.wallet(viewer).held > 0 end, 10, "the meter")
    publisher:stop()
    local flv = watching:wait(20)
    assert.is_true(flv.took < 20000)
    local wallet = support.settled(viewer)
    assert.is_true(wallet.paid >= 90 * CREDIT)
  end)

  it("is not to be had for a stream that is offline", function()
    local model = support.model()
    assert.equal(404, support.flv(support.ticket(model), 3).status)
  end)
end)
