-- WebSockets whose handlers are Lua, through the application and the real server.
local app = require "footlight.app"
local Client = require "footlight.testing.client"
local task = require "runtime.task"
local testing = require "footlight.testing"

local exports = require "commands.test"
local before = { on_request = exports.on_request, on_websocket = exports.on_websocket }

-- Serves one route with the handler while fn(client) runs.
local function serve(options, handler, fn)
  local site = app.new { context = require "site.context", pages = { function(site) site:websocket("/live/:name", options, handler) end } }
  exports.on_request, exports.on_websocket = site.on_request, site.on_websocket
  local _ <close> = setmetatable({}, { __close = function()
    exports.on_request, exports.on_websocket = before.on_request, before.on_websocket
  end })
  return fn(Client.new())
end

describe("a WebSocket handler", function()
  it("receives and sends messages of both kinds", function()
    serve({}, function(socket)
      socket:send("hello " .. socket.params.name .. " " .. socket.query.x)
      while true do
        local message, kind = socket:receive()
        if not message then return end
        socket:send(message:upper(), kind == "binary")
      end
    end, function(client)
      local socket = assert(client:websocket("/live/ann%20b?x=1"))
      assert.equal("hello ann b 1", socket:receive())
      socket:send("é one")
      socket:send("two", "binary")
      assert.same({ "é ONE", "text" }, { socket:receive() })
      assert.same({ "TWO", "binary" }, { socket:receive() })
      local long = ("x"):rep(60000)
      socket:send(long)
      assert.equal(long:upper(), socket:receive())
      assert.equal(1000, socket:close())
    end)
  end)

  it("waits so long as it says, and learns how the connection ended", function()
    local seen = {}
    serve({}, function(socket)
      seen.first = { socket:receive(0.01) }
      socket:send("waited")
      seen.last = { socket:receive() }
      seen.sent = { socket:send("too late") }
    end, function(client)
      local socket = assert(client:websocket("/live/a"))
      assert.equal("waited", socket:receive())
      socket:close(4001, "enough")
      testing.wait_for(function() return seen.sent end)
      assert.same({ nil, "timeout" }, seen.first)
      assert.same({ nil, "closed", 4001, "enough" }, seen.last)
      assert.is_nil(seen.sent[1])
      assert.equal("closed", seen.sent[2])
    end)
  end)

  it("gets what was sent before the end", function()
    local seen = {}
    serve({}, function(socket)
      task.sleep(0.03)
      repeat
        local message = socket:receive()
        seen[#seen + 1] = message or "end"
      until not message
    end, function(client)
      local socket = assert(client:websocket("/live/a"))
      socket:send("1")
      socket:send("2")
      socket:cut()
      testing.wait_for(function() return seen[3] end)
      assert.same({ "1", "2", "end" }, seen)
    end)
  end)

  it("closes the connection by ending, by saying so, and by failing", function()
    local function code_of(handler)
      return serve({}, handler, function(client)
        local socket = assert(client:websocket("/live/a"))
        local _, why, code, reason = socket:receive()
        assert.equal("closed", why)
        socket:cut()
        return code, reason
      end)
    end
    assert.equal(1000, (code_of(function() end)))
    assert.same({ 4321, "no more" }, { code_of(function(socket) socket:close(4321, "no more") end) })
    testing.expect_log("websocket.handler_failed")
    assert.equal(1011, (code_of(function() error "oh" end)))
  end)

  it("refuses what would break the protocol", function()
    serve({}, function(socket)
      socket:send(tostring(select(2, pcall(socket.send, socket, "\xFF"))))
      socket:send(tostring(select(2, pcall(socket.close, socket, 1006))))
    end, function(client)
      local socket = assert(client:websocket("/live/a"))
      assert.matches("not UTF%-8", (socket:receive()))
      assert.matches("no close code", (socket:receive()))
      socket:close()
    end)
  end)

  it("waits in send() while the peer does not read", function()
    local sent, done = 0, false
    serve({}, function(socket)
      for _ = 1, 40 do
        assert(socket:send(("x"):rep(50000), true))
        sent = sent + 1
      end
      done = true
    end, function(client)
      local socket = assert(client:websocket("/live/a"))
      socket:pause(true)
      testing.wait_for(function() return sent > 0 end)
      task.sleep(0.05)
      assert.is_true(sent < 30, sent)
      socket:pause(false)
      for _ = 1, 40 do assert.equal(50000, #socket:receive()) end
      testing.wait_for(function() return done end)
      socket:close()
    end)
  end)

  it("keeps a peer waiting that sends faster than it is read", function()
    local count = 0
    serve({}, function(socket)
      task.sleep(0.05)
      while socket:receive() do count = count + 1 end
    end, function(client)
      local socket = assert(client:websocket("/live/a"))
      for _ = 1, 400 do socket:send(("y"):rep(2000)) end
      socket:send("x", "text")
      testing.wait_for(function() return count == 401 end)
      socket:close()
    end)
  end)

  it("may compute and wait for long in sum: the limits are from message to message", function()
    testing.with_settings({ ["lua.cpu_ms"] = 120 }, function()
      serve({}, function(socket)
        for _ = 1, 4 do
          socket:receive()
          local stop = os.clock() + 0.05
          while os.clock() < stop do end
          socket:send("done")
        end
      end, function(client)
        local socket = assert(client:websocket("/live/a"))
        for _ = 1, 4 do
          socket:send("go")
          assert.equal("done", socket:receive())
        end
        socket:close()
      end)
    end)
  end)
end)

describe("after a reload", function()
  -- The core calls on_websocket of the new generation with the same connection; here it is a table.
  local json = require "runtime.json"
  local function connection(state)
    return {
      is = function(self) return not self.code, true, "req-1" end,
      state = function(self, text)
        self.kept = text or self.kept or json.encode(state)
        return self.kept
      end,
      close = function(self, code) self.code = code end,
    }
  end
  local function run(options, socket, handler, account)
    app.new {
      account = account, pages = { function(site) site:websocket("/live/:name", options, handler) end },
    }.on_websocket(socket)
    return socket
  end
  local state = { path = "/live/x", query = {}, locale = "en", remote = "192.0.2.1", account = 7, session = { n = 1 } }

  it("goes on with the session, and keeps it however it ends", function()
    local socket = connection(state)
    local seen
    assert.has_error(function()
      run({}, socket, function(self)
        seen = { self.resumed, self.params.name, self.session.n, self.account.id }
        self.session.n = self.session.n + 1
        error("cancelled: reload", 0)
      end, function(id) return { id = id } end)
    end, "cancelled: reload")
    assert.same({ true, "x", 1, 7 }, seen)
    assert.equal(2, json.decode(socket.kept).session.n)
  end)

  it("ends what is not allowed or not there any more", function()
    local function never() error "called" end
    assert.equal(1008, run({ signed_in = true }, connection(state), never, function() end).code)
    assert.equal(1008, run({ role = "admin" }, connection(state), never, function() return { id = 7, role = "viewer" } end).code)
    assert.equal(1012, run({}, connection { path = "/gone", session = {} }, never).code)
  end)

  it("tells when a session cannot be kept", function()
    testing.expect_log("websocket.session_lost")
    local socket = run({}, connection(state), function(self) self.session.f = print end, function(id) return { id = id } end)
    assert.equal(1, json.decode(socket.kept).session.n)
  end)
end)

describe("the handshake", function()
  local function echo(socket)
    local message = socket:receive()
    if message then socket:send(message) end
  end

  it("is for pages of this site only", function()
    serve({}, echo, function(client)
      local socket, answer = client:websocket("/live/a", { origin = "https://evil.example" })
      assert.is_nil(socket)
      assert.equal(403, answer.status)
      socket = assert(client:websocket("/live/a", { origin = "http://localhost" }))
      socket:send("x")
      assert.equal("x", socket:receive())
      socket:close()
    end)
    serve({ csrf = false }, echo, function(client)
      local socket = assert(client:websocket("/live/a", { origin = "https://other.example" }))
      socket:close()
    end)
  end)

  it("passes the guards of the route", function()
    serve({ signed_in = true }, echo, function(client)
      local socket, answer = client:websocket("/live/a")
      assert.is_nil(socket)
      assert.equal(403, answer.status)
    end)
    serve({}, echo, function(client)
      assert.equal(404, select(2, client:websocket("/nothing")).status)
      assert.equal(405, client:get("/live/a").status)
      assert.equal(426, select(2, client:websocket("/live/a", { ["sec-websocket-version"] = "99" })).status)
    end)
  end)

  it("agrees on a protocol and a size", function()
    serve({ protocols = "chat, echo", message_limit = 100 }, function(socket)
      assert(not socket:receive())
    end, function(client)
      local socket = assert(client:websocket("/live/a", { ["sec-websocket-protocol"] = "echo" }))
      assert.matches("[Ss]ec%-[Ww]eb[Ss]ocket%-[Pp]rotocol: echo", socket.head)
      socket:send(("x"):rep(101))
      local _, _, code = socket:receive()
      assert.equal(1009, code)
      socket:cut()
    end)
  end)
end)
