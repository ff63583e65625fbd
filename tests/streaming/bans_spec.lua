-- A ban, a suspension or a disabled account ends what runs, on every path, whoever plays.
local accounts = require "store.accounts"
local config = require "runtime.config"
local models = require "store.models"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local CREDIT = support.CREDIT
local SOON = 2000 -- ms from the decision to a picture that is gone

local function move(model, to)
  local row = models.by_slug(model.slug)
  assert.is_true(models.move { id = row.id, version = row.state_version, from = row.state, to = to, reason = "spec" })
end

-- Both kinds of player watch; `bar` does its work; both are off within SOON. Players of 30 s.
local function ends_players(model, viewer, bar)
  local terms = { account = viewer, rate = 60 * CREDIT }
  local flv_ticket, hls_ticket = support.ticket(model, terms), support.ticket(model, terms)
  local rtmp_ticket = support.ticket(model, terms)
  local rtmp = task.spawn(support.play, model, rtmp_ticket, 30)
  local flv = task.spawn(support.flv, flv_ticket, 30)
  local playlist = "/media/hls/" .. hls_ticket .. "/index.m3u8"
  testing.wait_for(function() return support.get(playlist).status == 200 end, 15, "the playlist")
  support.wait_watching(rtmp_ticket)
  support.wait_watching(flv_ticket)
  local began = task.monotonic_ms()
  bar()
  local bytes = rtmp:wait(20)
  assert.is_true(flv:wait(20).bytes > 1000)
  local took = task.monotonic_ms() - began
  assert.is_true(bytes > 1000)
  assert.is_true(took < SOON, ("the players ended %d ms after it"):format(took))
  assert.is_true(support.get(playlist).status >= 400)
  assert.equal(403, support.flv(flv_ticket, 3).status)
  support.settled(viewer)
end

describe("a ban", function()
  it("of a viewer ends what the account watches, and lets it watch nothing more", function()
    local model = support.model(60 * CREDIT)
    local viewer, other = support.viewer(200), support.viewer(100)
    local publisher <close> = support.publish(model)
    local spare = support.ticket(model, { account = viewer, rate = 60 * CREDIT })
    local bystanding = support.ticket(model, { account = other, rate = 60 * CREDIT })
    local bystander = task.spawn(support.flv, bystanding, 30)
    support.wait_watching(bystanding)
    ends_players(model, viewer, function() accounts.set_state(viewer, "banned") end)
    -- A ticket of before the ban opens nothing; nobody else has noticed.
    assert.equal(0, (support.play(model, spare, 2)))
    assert.equal("live", support.state(model))
    support.wait_watching(bystanding)
    bystander:cancel("the test is over")
    publisher:stop()
  end)

  it("of a model's account ends her broadcast and all who watch it", function()
    local model = support.model(60 * CREDIT)
    local viewer = support.viewer(200)
    local publisher <close> = support.publish(model)
    ends_players(model, viewer, function() accounts.set_state(model.account, "banned") end)
    support.wait_state(model, "offline", 2)
    assert.is_true(support.publish_whole(model.key, 2) ~= 0)
    publisher:stop()
  end)

  it("of a profile does so too, and so does its suspension", function()
    for _, state in ipairs { "suspended", "banned" } do
      local model = support.model(60 * CREDIT)
      local viewer = support.viewer(200)
      local publisher <close> = support.publish(model)
      ends_players(model, viewer, function() move(model, state) end)
      support.wait_state(model, "offline", 2)
      assert.is_true(support.publish_whole(model.key, 2) ~= 0)
      publisher:stop()
    end
  end)

  it("that is lifted lets the model broadcast again", function()
    local model = support.model()
    accounts.set_state(model.account, "disabled")
    testing.wait_for(function() return support.publish_whole(model.key, 1) ~= 0 end, 10, "the refusal")
    accounts.set_state(model.account, "active")
    testing.wait_for(function() return support.publish_whole(model.key, 1) == 0 end, 10, "the permission")
  end)
end)
