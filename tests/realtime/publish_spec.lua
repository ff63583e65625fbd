-- runtime.realtime against a real Redis: what pages and jobs rely on.
local realtime = require "runtime.realtime"
local redis = require "runtime.redis"
local crypto = require "runtime.crypto"

local function channel(kind) return kind .. ":spec-" .. crypto.random_token(8):gsub("[^%w]", "x") end

describe("runtime.realtime", function()
  it("numbers messages and gives them back from a position on", function()
    local name = channel "chat"
    assert.same({ offset = 0, epoch = "" }, realtime.position(name))
    local first, epoch = realtime.publish(name, { type = "note", n = 1 })
    assert.same(1, first)
    assert.same(8, #epoch)
    for n = 2, 5 do assert.same(n, (realtime.publish(name, { type = "note", n = n }))) end
    assert.same({ offset = 5, epoch = epoch }, realtime.position(name))
    local past = realtime.history(name, 10, 3)
    assert.same(5, past.offset)
    assert.same(epoch, past.epoch)
    assert.same({ { offset = 4, data = { type = "note", n = 4 } }, { offset = 5, data = { type = "note", n = 5 } } },
      past.messages)
    past = realtime.history(name, 2)
    assert.same(4, past.messages[1].offset)
    assert.same(2, #past.messages)
  end)

  it("keeps no more than the namespace says", function()
    local name = channel "chat"
    for n = 1, 60 do realtime.publish(name, { n = n }) end
    local past = realtime.history(name, 1000)
    assert.same(50, #past.messages)
    assert.same(11, past.messages[1].offset)
    assert.is_true(redis.call("TTL", "rt:h:" .. name) > 500)
  end)

  it("begins a new epoch, with an empty history, when the numbering was lost", function()
    local name = channel "chat"
    local _, before = realtime.publish(name, { n = 1 })
    redis.call("DEL", "rt:m:" .. name)
    local offset, after = realtime.publish(name, { n = 2 })
    assert.same(1, offset)
    assert.not_same(before, after)
    assert.same({ { offset = 1, data = { n = 2 } } }, realtime.history(name).messages)
  end)

  it("keeps the newest state, by its version where it has one", function()
    local name = channel "bal"
    realtime.publish(name, { type = "balance", paid = 9, version = 9 })
    realtime.publish(name, { type = "balance", paid = 3, version = 3 })
    local past = realtime.history(name)
    assert.same(9, past.offset)
    assert.same({ { offset = 9, data = { type = "balance", paid = 9, version = 9 } } }, past.messages)
  end)

  it("takes a message out of the history and says so in the same step", function()
    local name = channel "chat"
    realtime.publish(name, { text = "fine" })
    realtime.publish(name, { text = "vile" })
    assert.same(3, (realtime.remove(name, 2, { by = "mod" })))
    local past = realtime.history(name)
    assert.same({ { offset = 1, data = { text = "fine" } },
      { offset = 3, data = { type = "remove", offset = 2, by = "mod" } } }, past.messages)
  end)

  it("counts members that are alive, each account once", function()
    local name = channel "chat"
    local now = os.time() * 1000
    redis.call("ZADD", "rt:p:" .. name, now + 60000, "7@a", now + 60000, "7@b", now + 60000, "8@b",
      now + 60000, "#b", now - 1, "9@dead", now - 1, "#dead")
    redis.call("HSET", "rt:g:" .. name, "b", 3, "dead", 50)
    local presence = realtime.presence(name)
    table.sort(presence.members)
    assert.same({ count = 5, members = { 7, 8 } }, presence)
    assert.same({ count = 0, members = {} }, realtime.presence(channel "chat"))
  end)

  it("writes room settings where the chat guard looks", function()
    local name = channel "chat"
    realtime.mute(name, 7)
    assert.same("0", redis.call("HGET", "rt:mute:" .. name, "7"))
    realtime.mute(name, 7, 60)
    local till = tonumber(redis.call("HGET", "rt:mute:" .. name, "7"))
    assert.is_true(till > os.time() * 1000 and till <= (os.time() + 61) * 1000)
    realtime.mute(name, 7, 0)
    assert.is_nil(redis.call("HGET", "rt:mute:" .. name, "7"))
    realtime.slow(name, 5)
    assert.same("5", redis.call("HGET", "rt:mode:" .. name, "slow"))
    realtime.slow(name, 0)
    assert.is_nil(redis.call("HGET", "rt:mode:" .. name, "slow"))
  end)

  it("changes the modes of a room, and tells it", function()
    local name = channel "chat"
    assert.same({ slow = 0, followers = false, tippers = false, links = false }, realtime.mode(name))
    assert.same(1, (realtime.mode(name, { followers = true, slow = 7 })))
    realtime.mode(name, { slow = 0, links = true })
    assert.same({ slow = 0, followers = true, tippers = false, links = true }, realtime.mode(name))
    local told = realtime.history(name).messages[2].data
    told.at = nil
    assert.same({ type = "mode", slow = 0, followers = true, tippers = false, links = true }, told)
    assert.has_error(function() realtime.mode(name, { slow = -1 }) end)
  end)

  it("keeps bans, roles, followers and tippers of a room", function()
    local name = channel "chat"
    realtime.ban(name, 7)
    assert.same("0", redis.call("HGET", "rt:ban:" .. name, "7"))
    realtime.ban(name, 7, 60, "spam")
    assert.is_true(tonumber(redis.call("HGET", "rt:ban:" .. name, "7")) > os.time() * 1000)
    realtime.ban(name, 7, 0)
    assert.is_nil(redis.call("HGET", "rt:ban:" .. name, "7"))
    realtime.role(name, 7, "moderator")
    assert.same("moderator", redis.call("HGET", "rt:role:" .. name, "7"))
    realtime.role(name, 7)
    assert.is_nil(redis.call("HGET", "rt:role:" .. name, "7"))
    assert.has_error(function() realtime.role(name, 7, "king") end)
    realtime.follow(name, 7, true)
    assert.same(1, redis.call("SISMEMBER", "rt:follow:" .. name, "7"))
    realtime.follow(name, 7, false)
    assert.same(0, redis.call("SISMEMBER", "rt:follow:" .. name, "7"))
    realtime.tipped(name, 7)
    assert.is_true(tonumber(redis.call("ZSCORE", "rt:tip:" .. name, "7")) > os.time() * 1000 - 2000)
  end)

  it("clears a room: the history too, in the same numbering", function()
    local name = channel "chat"
    for n = 1, 3 do realtime.publish(name, { n = n }) end
    assert.same(4, (realtime.clear(name)))
    local past = realtime.history(name)
    assert.same(1, #past.messages)
    assert.same("clear", past.messages[1].data.type)
  end)

  it("signs tokens of three parts, and wants an account", function()
    local token = realtime.token { account = 7, name = "ava", role = "viewer", caps = { "chat:*" } }
    assert.is_truthy(token:match("^[%w_-]+%.[%w_-]+%.[%w_-]+$"))
    assert.has_error(function() realtime.token { name = "nobody" } end)
  end)

  it("refuses channels that cannot be and messages that are none", function()
    for _, name in ipairs { "", "chat", "chat:", "nope:x", "chat:a b", "lobby:x" } do
      assert.has_error(function() realtime.publish(name, {}) end)
    end
    assert.has_error(function() realtime.publish("chat:x", "text") end)
    assert.has_error(function() realtime.publish("chat:x", { text = ("x"):rep(70000) }) end)
  end)
end)
