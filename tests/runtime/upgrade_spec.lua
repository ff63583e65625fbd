-- A new binary under load: tools/fault upgrade, in small. The real run is longer.
local config = require "runtime.config"
local inside = require "runtime.testing"
local process = require "runtime.process"

describe("taking a new binary into service (USR2)", function()
  it("refuses no connection, loses no request, and refuses a binary that does not run", function()
    local run = assert(process.run { "python3", config.root .. "/tools/lib/fault_upgrade.py",
      "--footlight", inside.program(), "--upgrades", "3", "--clients", "8", limit = 28 })
    assert.equal(0, run.status, run.output .. run.errors)
    assert.matches("requests asked, 0 failed", run.output)
  end)
end)
