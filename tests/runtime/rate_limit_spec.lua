local crypto = require "runtime.crypto"
local rate_limit = require "footlight.rate_limit"
local redis = require "runtime.redis"

describe("a rate limit", function()
  local key

  before_each(function() key = crypto.random_token(12) end)

  it("allows so many uses, and says how long to wait for the next", function()
    for _ = 1, 3 do assert.is_true((rate_limit.hit("spec", key, 3, 60))) end
    local allowed, wait = rate_limit.hit("spec", key, 3, 60)
    assert.is_false(allowed)
    assert.is_true(wait >= 1 and wait <= 60)
  end)

  it("counts each key and each name by itself", function()
    assert.is_true((rate_limit.hit("spec", key, 1, 60)))
    assert.is_false((rate_limit.hit("spec", key, 1, 60)))
    assert.is_true((rate_limit.hit("spec", key .. "x", 1, 60)))
    assert.is_true((rate_limit.hit("other", key, 1, 60)))
  end)

  it("begins anew when its window is over, and never stays for ever", function()
    rate_limit.hit("spec", key, 1, 60)
    rate_limit.hit("spec", key, 1, 60)
    assert.is_true(redis.call("TTL", "limit:spec:" .. key) > 0)
    redis.call("DEL", "limit:spec:" .. key) -- as its expiry does
    assert.is_true((rate_limit.hit("spec", key, 1, 60)))
  end)

  it("is forgotten after a success", function()
    rate_limit.hit("spec", key, 1, 60)
    rate_limit.clear("spec", key)
    assert.is_true((rate_limit.hit("spec", key, 1, 60)))
  end)

  it("takes keys of any length and content, and keeps them short", function()
    local long = key .. (" \r\n*ü"):rep(1000)
    assert.is_true((rate_limit.hit("spec", long, 1, 60)))
    assert.is_false((rate_limit.hit("spec", long, 1, 60)))
  end)

  it("lets everybody in when Redis does not answer", function()
    package.loaded["runtime.redis"] = {
      pipeline = function() error "redis: away" end, call = function() error "redis: away" end,
    }
    local allowed = rate_limit.hit("spec", key, 0, 60)
    rate_limit.clear("spec", key)
    package.loaded["runtime.redis"] = redis
    assert.is_true(allowed)
  end)
end)
