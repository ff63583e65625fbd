-- The realtime service as a process of its own, twice, with clients that others wrote.
local json = require "runtime.json"
local process = require "runtime.process"

describe("foreign clients", function()
  local checks

  -- One run of the script serves all tests here: it starts and stops the service.
  local function outcome(name)
    if not checks then
      checks = {}
      local result = assert(process.run { "node", "tests/realtime/clients.mjs", limit = 120 })
      for line in result.output:gmatch("[^\n]+") do
        local check = json.decode(line)
        if check then checks[check.name] = check end
      end
      checks.errors = result.errors
    end
    local check = checks[name] or { ok = false, error = "it did not run: " .. checks.errors }
    assert(check.ok, check.error)
  end

  for _, kind in ipairs {
    "ws", "python3-websockets", "sockjs websocket", "sockjs xhr-streaming", "sockjs xhr-polling",
  } do
    local name = kind .. " and ws chat through two instances"
    it("by " .. name, function() outcome(name) end)
  end

  for _, name in ipairs {
    "ws gets permessage-deflate and large messages whole",
    "a stopped service sends everyone away to come back",
  } do
    it(name, function() outcome(name) end)
  end
end)
