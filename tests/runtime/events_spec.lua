-- Server-sent events and conditional requests, through an application of their own.
local app = require "footlight.app"
local conditional = require "footlight.conditional"
local new_client = require("footlight.testing.client").new
local request = require "runtime.request"
local task = require "runtime.task"
local testing = require "footlight.testing"

local exports = require "commands.test"
local site = exports.on_request

describe("req:events", function()
  local handler, ended
  setup(function()
    local own = app.new { pages = { function(pages)
      pages:get("/events", function(req) return req:events(function(stream)
        local _ <close> = setmetatable({}, { __close = function() ended = true end })
        return handler(stream)
      end) end)
    end } }
    exports.on_request = own.on_request
  end)
  teardown(function() exports.on_request = site end)
  before_each(function() ended = false end)

  it("writes messages as EventSource reads them, one by one", function()
    handler = function(stream)
      stream:send "plain"
      stream:send { event = "tip", id = 7, data = { amount = 5 } }
      stream:send { data = "two\nlines\r\nevent: forged", retry = 1500 }
      stream:keep_alive()
    end
    local page = new_client():get "/events"
    assert.equal("text/event-stream", page.headers["content-type"])
    assert.equal("no-store", page.headers["cache-control"])
    assert.equal("data: plain\n\nevent: tip\nid: 7\ndata: {\"amount\":5}\n\n"
      .. "retry: 1500\ndata: two\ndata: lines\ndata: event: forged\n\n:\n\n", page.body)
  end)

  it("refuses a name or an id that would be more than one line", function()
    local problems = {}
    handler = function(stream)
      for _, bad in ipairs { { event = "a\nb" }, { id = "a\rb" }, { id = "a\0b" }, { retry = "soon" } } do
        problems[#problems + 1] = select(2, pcall(stream.send, stream, bad))
      end
    end
    new_client():get "/events"
    assert.equal(4, #problems)
    assert.matches("line break", problems[1])
  end)

  it("tells where a client that comes back had been", function()
    handler = function(stream) stream:send(stream.last_id or "from the beginning") end
    assert.equal("data: from the beginning\n\n", new_client():get("/events").body)
    assert.equal("data: 41\n\n", new_client { headers = { ["Last-Event-ID"] = "41" } }:get("/events").body)
  end)

  it("arrives at once, waits for a client that is behind, and ends when it leaves", function()
    local sent = 0
    handler = function(stream)
      stream:send "first"
      while true do
        stream:send(("x"):rep(64 * 1024))
        sent = sent + 1
      end
    end
    local stream = request.connect("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    local got = ""
    testing.wait_for(function()
      got = got .. (stream:read(1) or "")
      return got:find("data: first\n\n", 1, true)
    end)
    stream:pause(true)
    local at_pause, before = sent, nil
    testing.wait_for(function() -- it stands still: the socket is full
      local still = before == sent
      before = sent
      task.sleep(0.02)
      return still and sent > 0
    end)
    local more = sent - at_pause
    assert.is_true(more < 200, more .. " messages for a client that does not read")
    assert.is_false(ended)
    stream:close()
    testing.wait_for(function() return ended end)
  end)
end)

describe("req:unchanged", function()
  local made
  setup(function()
    local own = app.new { pages = { function(pages)
      pages:get("/page", function(req)
        local known = req:unchanged { etag = "v1 a", modified = 1764000000 }
        if known then return known end
        made = made + 1
        return req:text_response("content")
      end)
      pages:get("/public", { cache = "public, max-age=60" }, function(req)
        return req:unchanged { etag = 5 } or req:text_response("content")
      end)
    end } }
    exports.on_request = own.on_request
  end)
  teardown(function() exports.on_request = site end)
  before_each(function() made = 0 end)

  local function get(headers, path) return new_client { headers = headers }:get(path or "/page") end

  it("gives validators, and 304 to who has it", function()
    local page = get()
    assert.equal('W/"v1_a"', page.headers.etag)
    assert.equal("Mon, 24 Nov 2025 16:00:00 GMT", page.headers["last-modified"])
    assert.equal("private, no-cache", page.headers["cache-control"])
    for _, headers in ipairs {
      { ["If-None-Match"] = 'W/"v1_a"' }, { ["If-None-Match"] = '"other", "v1_a"' }, { ["If-None-Match"] = "*" },
      { ["If-Modified-Since"] = "Mon, 24 Nov 2025 16:00:00 GMT" },
    } do
      made = 0
      local again = get(headers)
      assert.equal(304, again.status)
      assert.equal("", again.body)
      assert.equal('W/"v1_a"', again.headers.etag)
      assert.equal(0, made)
    end
  end)

  it("makes it for who has something else, or asks with nonsense", function()
    for _, headers in ipairs {
      { ["If-None-Match"] = '"v1"' }, { ["If-None-Match"] = "v1_a" },
      { ["If-Modified-Since"] = "Mon, 24 Nov 2025 15:59:59 GMT" }, { ["If-Modified-Since"] = "yesterday" },
      -- The tag wins over the time.
      { ["If-None-Match"] = '"v2"', ["If-Modified-Since"] = "Mon, 24 Nov 2025 16:00:00 GMT" },
    } do
      assert.equal(200, get(headers).status)
    end
    assert.equal(5, made)
  end)

  it("leaves the route's own word about caches", function()
    assert.equal("public, max-age=60", get({}, "/public").headers["cache-control"])
    assert.equal(304, get({ ["If-None-Match"] = 'W/"5"' }, "/public").status)
  end)

  it("reads and writes dates of HTTP", function()
    for _, seconds in ipairs { 0, 951782400, 1709164800, 1764000000, 4102444799 } do
      assert.equal(seconds, conditional.parse_date(conditional.date(seconds)))
    end
    assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", conditional.date(784111777))
    assert.is_nil(conditional.parse_date "Sunday, 06-Nov-94 08:49:37 GMT")
    assert.is_nil(conditional.parse_date "Sun, 06 Foo 1994 08:49:37 GMT")
  end)
end)
