-- Handlers that take more than their share fail alone. Loops, memory and comparators: tests/unit/lua_limits_test.c;
-- here are those that take it from others by waiting.
local db = require "runtime.db"
local redis = require "runtime.redis"
local task = require "runtime.task"

describe("ten thousand queries at once", function()
  it("get answers or are refused as busy, and keep nobody else waiting", function()
    redis.call "PING" -- its connection is made before they come
    local answered, refused, others = 0, 0, {}
    local runs = {}
    for i = 1, 10000 do
      runs[i] = task.spawn(function()
        local ok, why = pcall(db.one, "SELECT 1 AS n")
        if ok then
          answered = answered + 1
        else
          assert(type(why) == "table" and why.kind == "busy", tostring(why))
          refused = refused + 1
        end
      end)
    end
    assert.equal("PONG", redis.call("PING")) -- goes past them: they have not been answered yet
    others[1] = answered + refused
    for _, run in ipairs(runs) do run:wait() end
    assert.is_true(others[1] < 10000)
    assert.equal(10000, answered + refused)
    assert.is_true(answered > 0)
    assert.is_true(refused > 0)
    assert.equal(1, db.one("SELECT 1 AS n").n) -- and the pool is as good as before
  end)
end)
