-- One live show with real encoders and players: who may publish, who may watch, what it costs.
local billing = require "runtime.billing"
local config = require "runtime.config"
local models = require "store.models"
local redis = require "runtime.redis"
local streaming = require "runtime.streaming"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local CREDIT = support.CREDIT

describe("publishing", function()
  it("takes the model's key and no other", function()
    local model = support.model()
    assert.is_true(support.publish_whole("sk-not-a-key-of-anybody", 2) ~= 0)
    assert.equal("offline", support.state(model))
    assert.equal(0, support.publish_whole(model.key, 2))
  end)

  it("takes one publisher a model, and the next right after it", function()
    local model = support.model()
    local first <close> = support.publish(model)
    assert.is_true(support.publish_whole(model.key, 2) ~= 0)
    assert.equal("live", support.state(model))
    first:stop()
    assert.equal(0, support.publish_whole(model.key, 2))
  end)

  it("refuses a model who is no longer approved", function()
    local model = support.model()
    local row = models.by_slug(model.slug)
    models.move { id = row.id, version = row.state_version, from = "approved", to = "suspended", reason = "spec" }
    testing.wait_for(function()
      return redis.call("HGET", "p:model:" .. model.slug, "state") == "suspended"
    end, 10, "the projection")
    assert.is_true(support.publish_whole(model.key, 2) ~= 0)
  end)

  it("goes live, waits for a publisher that left, and knows it again", function()
    local model = support.model()
    local first <close> = support.publish(model)
    local broadcast = streaming.live(model.slug).broadcast
    first:stop()
    support.wait_state(model, "grace")
    local second <close> = support.publish(model)
    assert.equal(broadcast, streaming.live(model.slug).broadcast)
    second:stop()
    support.wait_state(model, "grace")
  end)

  it("ends at once when staff drop it", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    assert.is_true(streaming.drop(model.slug, "taken down") >= 1)
    support.wait_state(model, "offline")
    publisher:stop()
  end)
end)

describe("playing by RTMP", function()
  it("needs a ticket, which is good for one session of its own stream", function()
    local model, other = support.model(), support.model()
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model)
    assert.is_true(support.play(model, ticket, 2) > 1000)
    assert.equal(0, (support.play(model, ticket, 2)))
    assert.equal(0, (support.play(model, nil, 2)))
    assert.equal(0, (support.play(model, support.ticket(other), 2)))
    assert.equal(0, (support.play(model, support.ticket(model, { ttl = 0, expires = 1 }), 2)))
    publisher:stop()
  end)

  it("never plays the key", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    assert.equal(0, (support.play(model, support.ticket(model), 2, "../publish/" .. model.key)))
    assert.equal(0, (support.play(model, support.ticket(model), 2, model.key)))
    publisher:stop()
  end)

  it("costs a credit a second and ends with the last one", function()
    local model = support.model(60 * CREDIT)
    local viewer = support.viewer(4)
    local publisher <close> = support.publish(model)
    local ticket = support.ticket(model, { account = viewer, rate = 60 * CREDIT })
    local bytes, took = support.play(model, ticket, 20)
    assert.is_true(bytes > 1000)
    assert.is_true(took < 12000, "it was cut, not stopped by the player")
    local wallet = support.settled(viewer)
    assert.equal(0, wallet.paid)
    assert.equal(0, wallet.bonus)
    publisher:stop()
  end)

  it("gives back what was reserved and not watched", function()
    local model = support.model(60 * CREDIT)
    local viewer = support.viewer(100)
    local publisher <close> = support.publish(model)
    local _, took = support.play(model, support.ticket(model, { account = viewer, rate = 60 * CREDIT }), 3)
    local wallet = support.settled(viewer)
    local spent = 100 * CREDIT - wallet.paid
    assert.equal(0, spent % CREDIT)
    -- Never more than the started seconds of the whole connection.
    assert.is_true(spent > 0 and spent <= (took // 1000 + 1) * CREDIT, ("%d for %d ms"):format(spent, took))
    publisher:stop()
  end)

  it("does not begin without credit, or for an account that is barred", function()
    local model = support.model(60 * CREDIT)
    local poor, barred = support.viewer(0), support.viewer(10)
    local publisher <close> = support.publish(model)
    assert.equal(0, (support.play(model, support.ticket(model, { account = poor, rate = 60 * CREDIT }), 2)))
    redis.call("HSET", "p:account:" .. barred, "state", "banned")
    assert.equal(0, (support.play(model, support.ticket(model, { account = barred, rate = 60 * CREDIT }), 2)))
    assert.equal(10 * CREDIT, billing.wallet(barred).paid)
    -- A free ticket does not open a paid room.
    assert.equal(0, (support.play(model, support.ticket(model, { account = barred }), 2)))
    publisher:stop()
  end)

  it("ends at the ticket's time limit", function()
    local model = support.model()
    local publisher <close> = support.publish(model)
    local bytes, took = support.play(model, support.ticket(model, { limit = 2 }), 20)
    assert.is_true(bytes > 1000)
    assert.is_true(took < 12000)
    publisher:stop()
  end)
end)

describe("broadcasts and pictures", function()
  it("a broadcast is booked with its beginning and end", function()
    local broadcasts = require "store.broadcasts"
    local model = support.model()
    local publisher <close> = support.publish(model)
    testing.wait_for(function() return #broadcasts.of_model(model.id, 5) == 1 end, 10, "the broadcast")
    streaming.drop(model.slug, "the spec ends it")
    testing.wait_for(function()
      return broadcasts.of_model(model.id, 5)[1].end_reason == "the spec ends it"
    end, 10, "its end")
    publisher:stop()
  end)

  it("a free room gets a thumbnail, a paid one none", function()
    local free, paid = support.model(), support.model(60 * CREDIT)
    local first <close> = support.publish(free)
    local second <close> = support.publish(paid)
    local thumb = testing.wait_for(function() return streaming.live(free.slug).thumb end, 15, "the thumbnail")
    for _, width in ipairs { 320, 640, 1280 } do
      local answer = support.get(("/thumbs/%s/%d-%d.webp"):format(free.slug, thumb, width))
      assert.equal(200, answer.status)
      assert.equal("RIFF", answer.body:sub(1, 4))
      assert.equal("WEBP", answer.body:sub(9, 12))
    end
    assert.is_nil(streaming.live(paid.slug).thumb)
    assert.equal(404, support.get("/thumbs/" .. free.slug .. "/").status)
    first:stop()
    second:stop()
  end)
end)
