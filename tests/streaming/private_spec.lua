-- A private show with a real encoder and real players: when it begins the others lose the picture on every
-- path, while it runs no form of an address gives it to them, and when it ends it is everybody's again.
local billing = require "runtime.billing"
local config = require "runtime.config"
local db = require "runtime.db"
local redis = require "runtime.redis"
local rules = require "store.show_rules"
local shows = require "store.shows"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local CREDIT = support.CREDIT
local RATE = 60 * CREDIT

local function priced(spy_rate)
  local model = support.model()
  local version = db.one("SELECT version FROM room_settings WHERE model_id = ?", model.id).version
  assert.is_true(shows.set_prices { model_id = model.id, version = version, private_rate = RATE, private_minimum = 1,
    spy_rate = spy_rate, group_rate = RATE, group_minimum = 1, group_size = 2 })
  return model
end

-- As the room and the studio do it.
local function accepted(model, viewer)
  local show = assert(shows.request { model_id = model.id, account_id = viewer, rate = RATE, minimum = 1 })
  assert(billing.hold { op = ("show:%d:%d"):format(show.id, viewer), account = viewer, amount = rules.to_hold(show),
    payee = model.id, type = "private", seconds = 600 })
  assert.is_true(shows.accept(show.id, rules.to_hold(show)))
  return show
end

local function show_ticket(model, show, viewer, terms)
  local values = { account = viewer, rate = RATE, free = 60, policy = "private", show = show.id }
  for name, value in pairs(terms or {}) do values[name] = value end
  return support.ticket(model, values)
end

local function playlist(ticket) return support.get("/media/hls/" .. ticket .. "/index.m3u8") end

local function wait_playlist(ticket)
  return testing.wait_for(function()
    local answer = playlist(ticket)
    return answer.status == 200 and answer
  end, 20, "the playlist").body
end

local function wait_state(show, state, limit)
  testing.wait_for(function() return shows.by_id(show.id).state == state end, limit or 10, "the show to be " .. state)
end

local function names(text)
  local found = {}
  for name in text:gmatch("/(%d+%.ts)%?") do found[name] = true end
  return found
end

describe("a private show", function()
  it("takes the picture from everybody else within two seconds, and gives it back", function()
    local model, viewer = priced(), support.viewer(300)
    local publisher <close> = support.publish(model)
    testing.wait_for(function() return streaming.live(model.slug).thumb end, 20, "the thumbnail")
    local thumb = ("/thumbs/%s/%s-640.webp"):format(model.slug, streaming.live(model.slug).thumb)
    assert.equal(200, support.get(thumb).status)

    local hls, kept = support.ticket(model), support.ticket(model)
    local text = wait_playlist(hls)
    local key = text:match('URI="(%d+%.key)"')
    local by_rtmp = task.spawn(support.play, model, support.ticket(model), 40)
    local by_flv = task.spawn(support.flv, support.ticket(model), 40)
    task.sleep(2) -- both have begun to watch

    local show = accepted(model, viewer)
    local began = task.monotonic_ms()
    local flv = by_flv:wait(10)
    local flv_ms = task.monotonic_ms() - began
    local bytes = by_rtmp:wait(10)
    local rtmp_ms = task.monotonic_ms() - began
    assert.is_true(flv.bytes > 1000 and bytes > 1000)
    assert.is_true(flv_ms < 2000, "FLV ended after " .. flv_ms)
    assert.is_true(rtmp_ms < 2000, "RTMP ended after " .. rtmp_ms)

    -- The viewer watches, and the show has begun.
    local inside = task.spawn(support.flv, show_ticket(model, show, viewer), 40)
    wait_state(show, "active")
    local hls_inside = show_ticket(model, show, viewer)
    local seen = wait_playlist(hls_inside)

    -- Whoever had a ticket, has another, or knows an address.
    local other = support.viewer(300)
    assert.equal(403, playlist(hls).status)
    assert.equal(403, support.get("/media/hls/" .. hls .. "/" .. key).status)
    assert.equal(403, playlist(kept).status)
    for _, terms in ipairs { {}, { account = other }, { account = other, rate = RATE }, { account = other, show = show.id + 1 } } do
      local ticket = support.ticket(model, terms)
      assert.equal(403, playlist(ticket).status)
      assert.equal(403, support.get("/media/hls/" .. ticket .. "/" .. key).status)
      assert.equal(0, (support.play(model, support.ticket(model, terms), 2)))
      assert.equal(403, support.flv(support.ticket(model, terms), 2).status)
    end
    assert.equal(0, (support.play(model, nil, 2)))
    assert.equal(0, (support.play(model, nil, 2, "../publish/" .. model.key)))
    local segment = seen:match("\n(/segments/[^\n]+)")
    local number = segment:match("/(%d+)%.ts")
    local bare, signed = segment:match("^([^?]+)(.*)$")
    for _, address in ipairs {
      -- Segments: without a signature, with another's, with one that was changed, by other spellings of the path.
      bare, bare .. "?s=AAAAAAAAAAAAAAAAAAAAAA&e=9999999999", bare .. signed:gsub("e=%d", "e=9"),
      "/segments/" .. model.slug .. "/" .. (number + 1) .. ".ts" .. signed, "/segments//" .. model.slug .. "/" .. number .. ".ts",
      "/segments/./" .. model.slug .. "/" .. number .. ".ts", "/segments/" .. model.slug .. "%2f" .. number .. ".ts",
      "/segments/" .. model.slug .. "/" .. number .. "%2ets", "/segments/x/../" .. model.slug .. "/" .. number .. ".ts",
      -- Playlists and keys where nginx-rtmp writes them, and where other servers would serve them.
      "/segments/" .. model.slug .. "/index.m3u8", "/segments/" .. model.slug .. "/" .. key, "/k/" .. model.slug .. "/" .. key,
      "/hls/" .. model.slug .. "/index.m3u8", "/hls/" .. model.slug .. "/" .. number .. ".ts", "/live/" .. model.slug .. ".flv",
      -- The media service with no ticket, or with a name in its place.
      "/media/hls/" .. model.slug .. "/index.m3u8", "/media/hls/" .. model.slug .. "/" .. key, "/media/flv/" .. model.slug,
      "/media/flv/", "/media/hls/", "/media/hls/index.m3u8", "/media/hls/" .. hls .. "/../" .. hls .. "/index.m3u8",
      "/media/flv/" .. hls, "/media/hls/" .. hls .. "/" .. number .. ".ts", "/media/ingest/" .. model.slug,
      -- Pictures: the last public ones, and what they are made from.
      thumb, (thumb:gsub("640", "320")), (thumb:gsub("640", "1280")), "/thumbs/" .. model.slug .. "/", "/keyframes/" .. model.slug .. ".flv",
      "/thumbs/../keyframes/" .. model.slug .. ".flv", "/stat", "/control/record/start?app=live&name=" .. model.slug,
    } do
      assert.is_true(support.get(address).status >= 400, address)
    end
    for _, name in ipairs { model.slug:upper(), model.slug .. "/", "/" .. model.slug, model.slug .. ".flv", "mp4:" .. model.slug,
      "flv:" .. model.slug, "../live/" .. model.slug, model.key, model.slug .. "?show=" .. show.id,
      model.slug .. "?policy=internal", "./" .. model.slug } do
      assert.equal(0, (support.play(model, nil, 2, name)), name)
    end
    assert.is_nil(streaming.live(model.slug).thumb)
    assert.is_nil(support.get("/").body:find("/thumbs/" .. model.slug, 1, true))

    -- The end, by the model.
    local during = names(wait_playlist(hls_inside))
    assert.equal("ending", shows.finish(show.id, "model"))
    local ended = task.monotonic_ms()
    assert.is_true(inside:wait(10).bytes > 1000)
    assert.is_true(task.monotonic_ms() - ended < 2000)
    assert.equal(403, playlist(hls_inside).status)
    wait_state(show, "settled", 20)
    -- It is everybody's again, from a segment on that the show had no part in.
    local again = names(wait_playlist(support.ticket(model)))
    for name in pairs(during) do assert.is_nil(again[name], name .. " is the show's") end
    assert.is_true(support.play(model, support.ticket(model), 2) > 1000)
    assert.is_true(support.flv(support.ticket(model), 3).bytes > 1000)

    -- She ended it before the minimum: what was watched is paid by the second.
    local mine = shows.participant(show.id, viewer)
    local wallet = support.settled(viewer)
    local seconds = (mine.watched_ms + 999) // 1000
    assert.equal(seconds > rules.FREE_SECONDS and math.min(seconds, 60) * CREDIT or 0, mine.captured)
    assert.equal(300 * CREDIT - mine.captured - mine.metered, wallet.paid)
    publisher:stop()
  end)

  it("is cut from a spy too when it ends, who pays by a meter of his own", function()
    local model, viewer, spy = priced(60 * CREDIT), support.viewer(300), support.viewer(300)
    local publisher <close> = support.publish(model)
    local show = accepted(model, viewer)
    testing.wait_for(function() return redis.call("HGET", "p:model:" .. model.slug, "show") == tostring(show.id) end, 5,
      "the projection")
    local inside = task.spawn(support.flv, show_ticket(model, show, viewer), 40)
    wait_state(show, "active")
    assert.is_true(shows.join { id = show.id, account_id = spy, role = "spy", states = { active = true } })
    local looking = task.spawn(support.play, model, show_ticket(model, show, spy, { policy = "spy", free = 0 }), 40)
    task.sleep(3)
    shows.finish(show.id, "viewer")
    assert.is_true(looking:wait(5) > 1000)
    assert.is_true(inside:wait(5).bytes > 1000)
    wait_state(show, "settled", 20)
    local wallet = support.settled(spy)
    local spent = 300 * CREDIT - wallet.paid
    assert.is_true(spent >= 2 * CREDIT and spent <= 10 * CREDIT, tostring(spent))
    publisher:stop()
  end)

  it("ends when its viewer goes, and leaves a paused show unpaid", function()
    local model, viewer = priced(), support.viewer(300)
    local publisher = support.publish(model)
    local show = accepted(model, viewer)
    testing.wait_for(function() return redis.call("HGET", "p:model:" .. model.slug, "show") == tostring(show.id) end, 5,
      "the projection")
    support.flv(show_ticket(model, show, viewer), 3)
    wait_state(show, "active")
    publisher:stop()
    wait_state(show, "paused")
    local before = shows.participant(show.id, viewer).watched_ms
    local again <close> = support.publish(model)
    wait_state(show, "active")
    wait_state(show, "settled", 40)
    assert.equal("viewer", shows.by_id(show.id).end_reason)
    local mine = shows.participant(show.id, viewer)
    assert.is_true(mine.watched_ms - before < 5000)
    assert.equal(0, mine.metered)
    again:stop()
  end)
end)
