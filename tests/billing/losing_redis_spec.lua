-- The worst: the money Redis is gone, with its disk. In stores of its own, because it takes them apart.
local config = require "runtime.config"
local environment = require "footlight.testing.environment"
local process = require "runtime.process"

describe("losing the money Redis altogether", function()
  it("costs no credit that was booked, and gives none twice", function()
    local place <close> = environment.open "losing redis"
    local outcome = process.run(place:words("test", config.root .. "/tests/billing/recovery/losing_redis.lua"))
    assert.equal(0, outcome.status, outcome.output .. outcome.errors)
    assert.matches("\n2 passed, 0 failed, 0 skipped", outcome.output)
  end)
end)
