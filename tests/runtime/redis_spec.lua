-- runtime.redis against a real server.
local crypto = require "runtime.crypto"
local redis = require "runtime.redis"
local task = require "runtime.task"

local function key(name) return "spec:" .. crypto.random_token(9) .. ":" .. name end

describe("redis.call", function()
  it("gives nil for nil, integers as integers, lists as tables", function()
    local k = key "n"
    assert.is_nil(redis.call("GET", k))
    assert.equal(9007199254740993, redis.call("INCRBY", k, 9007199254740993))
    assert.equal("integer", math.type(redis.call("STRLEN", k)))
    assert.same({ "9007199254740993", nil, "9007199254740993" }, redis.call("MGET", k, key "none", k))
    assert.equal("OK", redis.call("SET", k, "a\0b"))
    assert.equal("a\0b", redis.call("GET", k))
    redis.call("DEL", k)
  end)

  it("raises what Redis calls an error, with the caller's place", function()
    local ok, reason = pcall(redis.call, "INCR")
    assert.is_false(ok)
    assert.matches("redis: ERR wrong number of arguments", reason)
    assert.has_error(function() redis.call() end)
    assert.has_error(function() redis.call("SET", key "x", {}) end)
    assert.has_error(function() redis.call("SET", key "x", nil) end)
  end)

  it("refuses what would block or change the shared connection", function()
    for _, words in ipairs { { "SUBSCRIBE", "x" }, { "multi" }, { "BLPOP", "x", 1 }, { "SELECT", 1 },
      { "XREAD", "BLOCK", 0, "STREAMS", "x", "$" } } do
      local ok, reason = pcall(redis.call, table.unpack(words))
      assert.is_false(ok)
      assert.matches("shared connection", reason)
    end
  end)
end)

describe("redis.pipeline", function()
  it("gives the answers in order", function()
    local k = key "p"
    local replies = redis.pipeline(function(p)
      p.call("SET", k, 1)
      p.call("INCR", k)
      p.call("GET", key "none")
      p:call("LRANGE", key "none", 0, -1)
    end)
    assert.equal(4, replies.n)
    assert.same({ "OK", 2, nil, {}, n = 4 }, replies)
    assert.equal(0, redis.pipeline(function() end).n)
    redis.call("DEL", k)
  end)

  it("runs everything, then raises the first error", function()
    local k = key "p"
    assert.has_error(function()
      redis.pipeline(function(p)
        p.call("INCR")
        p.call("SET", k, "done")
      end)
    end)
    assert.equal("done", redis.call("GET", k))
    redis.call("DEL", k)
  end)
end)

describe("redis.eval", function()
  it("runs a script by its text, then by its SHA, and again by text when Redis forgot it", function()
    local code = "return { KEYS[1], ARGV[1], #ARGV } -- " .. key "unique"
    for _ = 1, 2 do assert.same({ "k", "7", 2 }, redis.eval(code, { "k" }, { 7, "x" })) end
    redis.call("SCRIPT", "FLUSH")
    assert.same({ "k", "7", 2 }, redis.eval(code, { "k" }, { 7, "x" }))
    assert.equal(1, redis.eval "return 1")
    assert.has_error(function() redis.eval "this is not Lua" end)
  end)
end)

describe("redis.script", function()
  it("runs a script of lua/redis/ by its name", function()
    redis.call("HSET", "script:h", "old", "1")
    assert.equal(2, redis.script("replace_hash", { "script:h" }, { "a", 1, "b", "two" }))
    assert.equal(2, redis.call("HLEN", "script:h"))
    assert.equal("two", redis.call("HGET", "script:h", "b"))
    redis.call("DEL", "script:h")
  end)

  it("names what is not there, and goes nowhere else", function()
    assert.matches("no script lua/redis/none.lua", select(2, pcall(redis.script, "none")), 1, true)
    for _, bad in ipairs { "../site/init", "a.b", "", "A" } do
      assert.matches("name a script", select(2, pcall(redis.script, bad)))
    end
  end)
end)

describe("redis.connect", function()
  it("has transactions, alone", function()
    local own <close> = redis.connect()
    own:call("DEL", "own:n")
    own:call("WATCH", "own:n")
    own:call("MULTI")
    assert.equal("QUEUED", own:call("INCR", "own:n"))
    assert.is_nil(redis.call("GET", "own:n")) -- the others are not in it
    assert.same({ 1 }, own:call("EXEC"))
    own:call("WATCH", "own:n")
    redis.call("SET", "own:n", 5)
    own:call("MULTI")
    own:call("INCR", "own:n")
    assert.is_nil(own:call("EXEC")) -- somebody was there first
    assert.equal("5", redis.call("GET", "own:n"))
    redis.call("DEL", "own:n")
  end)

  it("may block without holding up anybody", function()
    local own <close> = redis.connect()
    redis.call("DEL", "own:list")
    local waiter = task.spawn(function() return own:call("BLPOP", "own:list", 10) end)
    for _ = 1, 3 do assert.equal("PONG", redis.call("PING")) end
    task.sleep(0.05)
    assert.is_false((waiter:done()))
    redis.call("RPUSH", "own:list", "here")
    assert.same({ "own:list", "here" }, waiter:wait(5))
  end)

  it("is closed with its block; who waits on it hears so", function()
    local waiter
    do
      local own <close> = redis.connect()
      assert.equal("PONG", own:call("PING"))
      waiter = task.spawn(function() return pcall(own.call, own, "BLPOP", "own:list", 10) end)
      task.sleep(0.02)
    end
    local ok, why = waiter:wait(5)
    assert.is_false(ok)
    assert.matches("LOST", why)
    local closed = redis.connect()
    closed:close()
    assert.matches("closed", select(2, pcall(closed.call, closed, "PING")))
  end)
end)

describe("redis.subscribe", function()
  it("hears messages in order, keeps them until they are received, and times out", function()
    local channel = key "c"
    local s <close> = redis.subscribe(channel)
    redis.publish(channel, "one")
    redis.publish(channel, "timeout")
    assert.equal("one", s:receive(5))
    assert.equal("timeout", s:receive(5))
    assert.same({ nil, "timeout" }, { s:receive(0.02) })
    task.spawn(function() redis.publish(channel, "three") end)
    assert.equal("three", s:receive(5))
    assert.equal(0, s:lost())
  end)

  it("ends with its scope", function()
    local channel = key "c"
    do local _ <close> = redis.subscribe(channel) end
    for _ = 1, 100 do
      if redis.publish(channel, "x") == 0 then return end
      task.sleep(0.01)
    end
    error("the subscription is still there")
  end)
end)
