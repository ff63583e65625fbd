-- The realtime service as processes of their own, with clients that others wrote, and with ours.
local json = require "runtime.json"
local process = require "runtime.process"
local testing = require "runtime.testing"

local LIMIT = 180

-- One run of a script serves all of its tests: it starts and stops the service.
local runs = {}
local function outcome(script, name)
  if not runs[script] then
    local checks = { errors = "its run did not end in time" }
    runs[script] = checks
    testing.limit(LIMIT + 10) -- not that of one test: all tests of the script are in it
    local result = assert(process.run { "node", "tests/realtime/" .. script, limit = LIMIT })
    for line in result.output:gmatch("[^\n]+") do
      local check = json.decode(line)
      if check then checks[check.name] = check end
    end
    checks.errors = result.errors
  end
  local checks = runs[script]
  local check = checks[name] or { ok = false, error = "it did not run: " .. checks.errors }
  assert(check.ok, check.error)
end

describe("foreign clients", function()
  for _, kind in ipairs {
    "ws", "python3-websockets", "sockjs websocket", "sockjs xhr-streaming", "sockjs xhr-polling",
  } do
    local name = kind .. " and ws chat through two instances"
    it("by " .. name, function() outcome("clients.mjs", name) end)
  end

  for _, name in ipairs {
    "ws gets permessage-deflate and large messages whole",
    "commands and pushes of every kind",
    "a stopped service sends everyone away to come back",
    "all that was received is as the protocol's schemas say",
  } do
    it(name, function() outcome("clients.mjs", name) end)
  end
end)

describe("a room of everybody, through two instances behind a balancer", function()
  for _, name in ipairs {
    "ws", "python3-websockets", "lua-http", "chromium websocket", "chromium xhr-streaming", "chromium eventsource",
    "chromium iframe-eventsource", "chromium htmlfile", "chromium iframe-htmlfile", "chromium xhr-polling",
    "chromium iframe-xhr-polling", "chromium jsonp-polling",
  } do
    it("is heard by " .. name, function() outcome("everyone.mjs", name .. " hears everyone") end)
  end
end)

describe("who is thrown out", function()
  for _, name in ipairs {
    "a banned account is off every instance and transport, and stays off",
    "a device that is signed out is off, and the others stay",
    "a new password ends the sockets of the old one's tokens only",
  } do
    it(name, function() outcome("bans.mjs", name) end)
  end
end)

describe("a storm", function()
  local name = "everybody has every message once, in order, through reconnections and two deaths"
  it(name, function() outcome("storm.mjs", name) end)
end)

describe("Redis, killed under load", function()
  for _, name in ipairs {
    "Redis comes back with what it held: every message once, in order, and every socket stays",
    "Redis comes back empty: everyone is told, counted again, and gets what follows",
  } do
    it(name, function() outcome("restart.mjs", name) end)
  end
end)

describe("the page's connection", function()
  for _, name in ipairs {
    "a page that was cut off gets what it missed, once and in order",
    "what is said while offline is sent on return",
    "where WebSockets do not pass, SockJS does",
    "refusals reach the page with their code",
    "a gap that cannot be filled is told",
    "a page keeps trying, with growing pauses",
  } do
    it(name, function() outcome("page.mjs", name) end)
  end
end)
