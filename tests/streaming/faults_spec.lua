-- What happens to nginx and to the hooks service, with real encoders and players: what Footlight
-- believes and what nginx does agree again within ten seconds, and nobody pays for what is not there.
local billing = require "runtime.billing"
local config = require "runtime.config"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local CREDIT = support.CREDIT
local HEALED = 10 -- seconds

-- A model on air and one who watches for a credit a second, for `seconds`.
local function show(seconds)
  local model, viewer = support.model(60 * CREDIT), support.viewer(100)
  local publisher = support.publish(model)
  local ticket = support.ticket(model, { account = viewer, rate = 60 * CREDIT })
  local began = task.monotonic_ms()
  local player = task.spawn(support.play, model, ticket, seconds)
  support.wait_watching(ticket)
  return setmetatable({ model = model, viewer = viewer, publisher = publisher, player = player,
    watched = function() return task.monotonic_ms() - began end }, { __close = function()
      player:cancel("the test is over")
      publisher:stop()
    end })
end

local function paid(viewer) return 100 * CREDIT - support.settled(viewer).paid end

local function wait_agreement(model, what)
  local last
  local ok = pcall(testing.wait_for, function()
    last = support.disagreement { [model.slug] = true }
    return last == nil
  end, HEALED, what)
  assert.is_true(ok, ("%s: %s"):format(what, last))
end

describe("the hooks service", function()
  it("is killed and comes back: the show goes on and costs what it costs", function()
    local it <close> = show(8)
    support.signal("KILL", support.service_pid("hooks"))
    local bytes, took = it.player:wait(30)
    assert.is_true(bytes > 1000)
    assert.is_true(took >= 7500, ("the player was cut after %d ms"):format(took))
    assert.equal("live", support.state(it.model))
    wait_agreement(it.model, "after the player left")
    local price = paid(it.viewer)
    assert.is_true(price >= 6 * CREDIT and price <= (took // 1000 + 1) * CREDIT, tostring(price))
    it.publisher:stop()
  end)

  it("stands still for a while: nobody is thrown out, not even after a reload of nginx", function()
    local it <close> = show(14)
    support.signal("HUP", support.nginx_master())
    local hooks = support.service_pid("hooks")
    support.signal("STOP", hooks)
    task.sleep(4) -- shorter than what the supervisor and nginx bear
    support.signal("CONT", hooks)
    local bytes, took = it.player:wait(30)
    assert.is_true(bytes > 1000)
    assert.is_true(took >= 13000, ("the player was cut after %d ms"):format(took))
    assert.equal("live", support.state(it.model))
    it.publisher:stop()
  end)
end)

describe("nginx", function()
  it("is reloaded: the show goes on, and is still cut when the credits end", function()
    local model, viewer = support.model(60 * CREDIT), support.viewer(9)
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model, { account = viewer, rate = 60 * CREDIT })
    local player = task.spawn(support.play, model, ticket, 40)
    support.wait_watching(ticket)
    local worker = support.stat().worker
    support.signal("HUP", support.nginx_master())
    testing.wait_for(function() return support.stat().worker ~= worker end, 10, "the new worker")
    local bytes, took = player:wait(40)
    assert.is_true(bytes > 1000)
    -- The control page does not see the old worker's clients: the refused update is the cut.
    assert.is_true(took >= 8000 and took < 19000, ("it was cut after %d ms"):format(took))
    assert.equal(0, support.settled(viewer).paid)
    assert.equal("live", support.state(model))
    publisher:stop()
  end)

  it("loses its worker: all ends within ten seconds, and is paid to the last picture only", function()
    local it <close> = show(60)
    local flv_viewer = support.viewer(100)
    local flv = task.spawn(support.flv, support.ticket(it.model, { account = flv_viewer, rate = 60 * CREDIT }), 60)
    testing.wait_for(function() return billing.wallet(flv_viewer).held > 0 end, 10, "the second meter")
    task.sleep(2) -- of watching
    local crashed_after = it.watched()
    support.signal("KILL", support.stat().worker)
    it.player:wait(20)
    flv:wait(20)
    wait_agreement(it.model, "after the crash")
    assert.is_true(support.state(it.model) ~= "live")
    for _, viewer in ipairs { it.viewer, flv_viewer } do
      local price = paid(viewer)
      assert.is_true(price <= (crashed_after // 1000 + 2) * CREDIT, ("%d for %d ms"):format(price, crashed_after))
    end
    -- The encoder connects again: the same broadcast goes on.
    it.publisher:stop()
    local broadcast = streaming.live(it.model.slug).broadcast
    local again <close> = support.publish(it.model)
    assert.equal(broadcast, streaming.live(it.model.slug).broadcast)
    again:stop()
  end)
end)
