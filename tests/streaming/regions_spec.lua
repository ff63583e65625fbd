-- A room that is shut to an address: who watches from there loses the picture within two seconds, on every
-- path, and gets it by none; who is elsewhere has not noticed.
local config = require "runtime.config"
local rooms = require "store.rooms"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

describe("a room that is shut to an address", function()
  it("takes the picture from those who watch from there, and gives it to none of them", function()
    local model, other = support.model(), support.model()
    local publisher <close> = support.publish(model)
    local second <close> = support.publish(other)
    local flv_ticket, hls_ticket, bystanding = support.ticket(model), support.ticket(model), support.ticket(other)
    local playlist = "/media/hls/" .. hls_ticket .. "/index.m3u8"
    testing.wait_for(function() return support.get(playlist).status == 200 end, 20, "the playlist")
    local rtmp = task.spawn(support.play, model, support.ticket(model), 40)
    local flv = task.spawn(support.flv, flv_ticket, 40)
    local bystander = task.spawn(support.flv, bystanding, 40)
    support.wait_watching(flv_ticket)
    support.wait_watching(bystanding)
    task.sleep(1)
    local began = task.monotonic_ms()
    rooms.set_blocks(model.id, "", "127.0.0.0/8, ::1")
    assert.is_true(flv:wait(20).bytes > 1000)
    assert.is_true(rtmp:wait(20) > 1000)
    local took = task.monotonic_ms() - began
    assert.is_true(took < 2000, ("they went on for %d ms"):format(took))
    assert.is_true(support.get(playlist).status >= 400)
    assert.equal(403, support.flv(support.ticket(model), 2).status)
    assert.equal(403, support.get("/media/hls/" .. support.ticket(model) .. "/index.m3u8").status)
    assert.equal(0, (support.play(model, support.ticket(model), 2)))
    assert.is_true(support.flv(support.ticket(model, { account = model.account }), 2).bytes > 1000)
    support.wait_watching(bystanding)
    bystander:cancel("the test is over")
    rooms.set_blocks(model.id, "", "")
    testing.wait_for(function() return support.flv(support.ticket(model), 2).bytes > 1000 end, 10, "the picture")
    publisher:stop()
    second:stop()
  end)
end)
