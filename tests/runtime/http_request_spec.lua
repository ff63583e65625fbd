-- Requests in Lua's hands: what a handler sees, what it may answer, and what happens when it fails.
-- Handlers stand in for the site; requests go through the real server (runtime.request.dispatch).
local config = require "runtime.config"
local file = require "runtime.file"
local json = require "runtime.json"
local request = require "runtime.request"
local task = require "runtime.task"
local testing = require "footlight.testing"

local exports = require "commands.test"
local site = exports.on_request

local function ask(handler, options)
  exports.on_request = handler
  local answer, reason = request.dispatch(options or {})
  exports.on_request = site
  return answer, reason
end

local function text(value) return { status = 200, headers = { ["Content-Type"] = "text/plain" }, body = tostring(value) } end

describe("a request", function()
  it("tells what was asked", function()
    local answer = ask(function(req)
      return text(table.concat({
        req.method, req.path, req.raw_path, req.target, req.query_string, req.host, req.remote,
        tostring(req.secure), req.scheme, tostring(req.upgrade), tostring(req.has_body),
      }, " "))
    end, { method = "PUT", path = "/a%20b/../c%C3%A9?x=1", headers = { Host = "site.test" }, body = "x",
           remote = "203.0.113.5", secure = true })
    assert.equal(200, answer.status)
    assert.equal("PUT /cé /a%20b/../c%C3%A9 /a%20b/../c%C3%A9?x=1 x=1 site.test 203.0.113.5 true https false true",
                 answer.body)
  end)

  it("gives each request an id, in the answer too", function()
    local ids = {}
    for i = 1, 2 do
      local answer = ask(function(req) return text(req.id) end)
      assert.equal(answer.body, answer.headers["x-request-id"])
      ids[i] = answer.body
    end
    assert.not_equal(ids[1], ids[2])
  end)

  it("finds headers in any case, and nil for others", function()
    local answer = ask(function(req)
      return text(("%s %s %s %s"):format(req.headers["X-Test"], req.headers["x-test"], req:header("X-TEST"),
                                         req.headers.other))
    end, { headers = { ["x-TEST"] = "v" } })
    assert.equal("v v v nil", answer.body)
  end)

  it("reads the query", function()
    local answer = ask(function(req)
      assert.equal(req.query, req.query) -- made once
      return text(json.encode { req.query.a, req.query.b, req.query.none == nil })
    end, { path = "/?a=x+y%21&b=" })
    assert.same({ "x y!", "", true }, json.decode(answer.body))
  end)

  it("answers 400 when a parameter that is asked for came twice", function()
    local function handler(req) return text(req.query.a) end
    assert.equal("1", ask(handler, { path = "/?a=1&b=1&b=2" }).body)
    assert.equal(400, ask(handler, { path = "/?a=1&a=2" }).status)
    local answer = ask(function(req) return text(table.concat(req.query_all.a, "|")) end, { path = "/?a=1&a=2" })
    assert.equal("1|2", answer.body)
  end)

  it("answers 400 for queries and paths that are no text", function()
    local function handler(req) return text(req.query.a) end
    for _, path in ipairs { "/?a=%zz", "/?a=%00", "/?a=%ff", "/%zz", "/%00", "/%ff", "/..", "/a%2fb" } do
      assert.equal(400, ask(handler, { path = path }).status, path)
    end
  end)

  it("reads cookies, the first of a name", function()
    local answer = ask(function(req) return text(req.cookies.a .. req.cookies.b .. tostring(req.cookies.c)) end,
                       { headers = { Cookie = "a=1; b=2; a=3; c=bad value" } })
    assert.equal("12nil", answer.body)
  end)

  it("carries what handlers put on it", function()
    local answer = ask(function(req)
      req.params = { slug = "x" }
      req.account = { id = 7 }
      return text(req.params.slug .. req.account.id)
    end)
    assert.equal("x7", answer.body)
  end)

  it("may be looked at after its answer, but not read", function()
    local kept
    ask(function(req)
      kept = req
      return text(req.path)
    end, { path = "/kept", body = "x" })
    assert.equal("/kept", kept.path)
    assert.is_nil(kept.host)
    assert.error_matches(function() kept:body() end, "has been answered")
  end)
end)

describe("a body", function()
  it("is read whole, and again", function()
    local answer = ask(function(req) return text(req:body() .. req:body()) end, { method = "POST", body = "abc" })
    assert.equal("abcabc", answer.body)
    assert.equal("", ask(function(req) return text(req:body()) end).body)
  end)

  it("is refused beyond its limit with 413", function()
    local function handler(req) return text(#req:body(10)) end
    assert.equal("10", ask(handler, { method = "POST", body = ("x"):rep(10) }).body)
    assert.equal(413, ask(handler, { method = "POST", body = ("x"):rep(11) }).status)
    assert.equal(413, ask(handler, { method = "POST", body = "b\r\nxxxxxxxxxxx\r\n0\r\n\r\n",
                                     headers = { ["Transfer-Encoding"] = "chunked" } }).status)
  end)

  it("raises a table that a handler may catch", function()
    local answer = ask(function(req)
      local ok, problem = pcall(req.body, req, 1)
      return text(("%s %d %s"):format(ok, problem.status, problem.reason))
    end, { method = "POST", body = "xx" })
    assert.equal("false 413 the body is too large", answer.body)
  end)

  it("is JSON only when it says so and is", function()
    local function handler(req) return text(req:json().a) end
    local kind = { ["Content-Type"] = "application/json; charset=utf-8" }
    assert.equal("5", ask(handler, { method = "POST", body = '{"a":5}', headers = kind }).body)
    assert.equal(400, ask(handler, { method = "POST", body = '{"a":', headers = kind }).status)
    assert.equal(400, ask(handler, { method = "POST", body = '"\xff"', headers = kind }).status)
    assert.equal(415, ask(handler, { method = "POST", body = '{"a":5}', headers = { ["Content-Type"] = "text/plain" } }).status)
  end)

  it("is a form: strings, and lists where a name repeats", function()
    local kind = { ["Content-Type"] = "application/x-www-form-urlencoded" }
    local answer = ask(function(req) return text(json.encode((req:form()))) end,
                       { method = "POST", headers = kind, body = "a=1&b=x+y&c=1&c=2&c=3" })
    assert.same({ a = "1", b = "x y", c = { "1", "2", "3" } }, json.decode(answer.body))
    assert.equal(400, ask(function(req) req:form() end, { method = "POST", headers = kind, body = "a=%ff" }).status)
    assert.equal(413, ask(function(req) req:form { size = 3 } end, { method = "POST", headers = kind, body = "a=12" }).status)
    assert.equal(415, ask(function(req) req:form() end, { method = "POST", body = "a=12" }).status)
  end)
end)

describe("a body that is streamed", function()
  -- Sends a chunked request piece by piece; the handler's answer says what it saw.
  local function connect(handler, head)
    exports.on_request = handler
    return request.connect("POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" .. head .. "\r\n\r\n")
  end
  after_each(function() exports.on_request = site end)

  local function read_all(stream)
    local all = ""
    while true do
      local more, why = stream:read(5)
      if not more then return all, why end
      all = all .. more
    end
  end

  it("gives its pieces while it arrives, and the trailers behind it", function()
    local seen = task.channel(10)
    local stream = connect(function(req)
      local sizes = {}
      for part in req:parts() do
        sizes[#sizes + 1] = #part
        seen:send(part)
      end
      return text(table.concat(sizes, " ") .. " " .. tostring(req:trailer("X-Checksum")) .. " " .. tostring(req:trailer("none")))
    end, "Transfer-Encoding: chunked")
    stream:write("5\r\nfirst\r\n")
    assert.equal("first", (seen:receive(5))) -- before the rest has been sent
    stream:write("6\r\nsecond\r\n")
    assert.equal("second", (seen:receive(5)))
    stream:write("0\r\nX-Checksum: abc\r\n\r\n")
    assert.matches("\r\n\r\n5 6 abc nil$", (read_all(stream)))
    stream:close()
  end)

  it("makes the client wait while nobody asks, and comes whole", function()
    local go_on = task.channel()
    local total = 8 * 1024 * 1024
    local sum, most, stopped = 0, 0, nil
    local stream = connect(function(req)
      for part in req:parts(total) do
        sum, most = sum + #part, math.max(most, #part)
        if not stopped then
          stopped = true
          go_on:receive(10)
        end
      end
      return text(sum)
    end, "Content-Length: " .. total)
    local block = ("x"):rep(total // 8)
    for _ = 1, 8 do stream:write(block) end
    testing.wait_for(function() return stopped end)
    task.sleep(0.05) -- what would be read meanwhile stays small
    assert.is_true(sum < 1024 * 1024)
    go_on:send(true)
    assert.matches("\r\n\r\n" .. total .. "$", (read_all(stream)))
    assert.is_true(most < 1024 * 1024, "a piece of " .. most)
    stream:close()
  end)

  it("is refused beyond its limit, when it is malformed, and when the client leaves", function()
    local why
    local function handler(req)
      local ok, problem = pcall(function() for _ in req:parts(10) do end end)
      why = not ok and problem.status
      error(problem, 0)
    end
    assert.equal(413, ask(handler, { method = "POST", body = ("x"):rep(11) }).status)
    local stream = connect(handler, "Transfer-Encoding: chunked")
    stream:write("zz\r\n")
    assert.matches("^HTTP/1.1 400 ", (read_all(stream)))
    stream:close()
    stream = connect(handler, "Content-Length: 5")
    stream:write("ab")
    stream:close()
    why = nil
    testing.wait_for(function() return why end)
    assert.equal(499, why)
  end)

  it("can be read in one way only", function()
    local answer = ask(function(req)
      req:body()
      return text(select(2, pcall(req.parts, req)))
    end, { method = "POST", body = "x" })
    assert.matches("read otherwise", answer.body)
  end)
end)

describe("a multipart form", function()
  local kind = { ["Content-Type"] = "multipart/form-data; boundary=XX" }
  local function part(head, body) return "--XX\r\nContent-Disposition: form-data; " .. head .. "\r\n\r\n" .. body .. "\r\n" end
  local body = part('name="a"', "1") .. part('name="b"', "x") .. part('name="b"', "y")
    .. part('name="none"; filename=""\r\nContent-Type: application/octet-stream', "")
    .. part('name="f"; filename="dir/pic.png"\r\nContent-Type: image/png', ("\0\1\2"):rep(50000)) .. "--XX--\r\n"

  it("puts files on disk, and they vanish with the request", function()
    local path
    local answer = ask(function(req)
      local fields, files = req:form()
      local f = files[1]
      path = f.path
      local content = file.read(f.path)
      return text(json.encode { fields, #files, f.name, f.filename, f.type, f.size, content == ("\0\1\2"):rep(50000) })
    end, { method = "POST", headers = kind, body = body })
    assert.same({ { a = "1", b = { "x", "y" } }, 1, "f", "pic.png", "image/png", 150000, true },
                json.decode(answer.body))
    assert.is_truthy(path:find(config.get("var") .. "/tmp/upload-", 1, true))
    assert.is_nil((io.open(path)))
  end)

  it("leaves a file that was moved away", function()
    local kept = config.get("var") .. "/tmp/kept-by-test"
    ask(function(req)
      local _, files = req:form()
      os.rename(files[1].path, kept)
      return text "ok"
    end, { method = "POST", headers = kind, body = body })
    local handle = assert(io.open(kept))
    assert.equal(150000, handle:seek("end"))
    handle:close()
    os.remove(kept)
  end)

  it("keeps its limits, and leaves nothing behind", function()
    for _, limits in ipairs { { file = 149999 }, { files = 0 }, { size = 2 }, { total = 1000 }, { fields = 1, files = 1 } } do
      local answer = ask(function(req) req:form(limits) end, { method = "POST", headers = kind, body = body })
      assert.equal(413, answer.status, json.encode(limits))
    end
    local answer = ask(function(req) req:form() end, { method = "POST", headers = kind, body = body:sub(1, -20) })
    assert.equal(400, answer.status)
    for _, name in ipairs(file.list and file.list(config.get("var") .. "/tmp") or {}) do
      assert.is_nil(tostring(type(name) == "table" and name.name or name):find("^upload%-"))
    end
  end)
end)

describe("a response", function()
  it("has a status, headers, and lists of headers", function()
    local answer = ask(function()
      return { status = 201, headers = { ["X-A"] = "1", ["Set-Cookie"] = { "a=1", "b=2" }, ["X-N"] = 5 }, body = "made" }
    end)
    assert.equal(201, answer.status)
    assert.equal("made", answer.body)
    assert.equal("1", answer.headers["x-a"])
    assert.equal("5", answer.headers["x-n"])
    assert.same({ "a=1", "b=2" }, answer.headers["set-cookie"])
    assert.equal("text/html; charset=utf-8", answer.headers["content-type"])
  end)

  it("may be a string or a template's buffer", function()
    assert.equal("<p>", ask(function() return "<p>" end).body)
    local template = require "runtime.template"
    local answer = ask(function() return { body = template.safe "<b>" } end)
    assert.equal("<b>", answer.body)
  end)

  it("may be without a body", function()
    local answer = ask(function() return { status = 303, headers = { Location = "/x" } } end)
    assert.equal(303, answer.status)
    assert.equal("", answer.body)
    assert.equal("404 Not Found\n", ask(function() return { status = 404 } end).body)
    assert.is_nil(ask(function() return { status = 204 } end).headers["content-length"])
  end)

  it("has no body for HEAD", function()
    local answer = ask(function() return text "12345" end, { method = "HEAD" })
    assert.equal("5", answer.headers["content-length"])
    assert.equal("", answer.body)
  end)

  it("may be a file, whole or in part", function()
    local function handler() return { headers = { ["Cache-Control"] = "no-cache" }, file = "CMakeLists.txt" } end
    local whole = ask(handler)
    assert.equal(200, whole.status)
    assert.equal("no-cache", whole.headers["cache-control"])
    assert.equal("text/plain; charset=utf-8", whole.headers["content-type"])
    assert.is_truthy(whole.body:find("project(footlight", 1, true))
    local part = ask(handler, { headers = { Range = "bytes=0-4" } })
    assert.equal(206, part.status)
    assert.equal(whole.body:sub(1, 5), part.body)
    assert.equal(304, ask(handler, { headers = { ["If-None-Match"] = whole.headers.etag } }).status)
    assert.equal(404, ask(function() return { file = "no/such/file" } end).status)
    assert.equal(404, ask(function() return { file = "lua" } end).status)
  end)

  it("may be written piece by piece, waiting in between", function()
    local answer = ask(function()
      return { headers = { ["Content-Type"] = "text/event-stream" }, body = function(write)
        for i = 1, 3 do
          write(("data: %d\n\n"):format(i))
          task.sleep(0.001)
        end
      end }
    end)
    assert.equal("data: 1\n\ndata: 2\n\ndata: 3\n\n", answer.body)
    assert.equal("text/event-stream", answer.headers["content-type"])
    assert.equal("chunked", answer.headers["transfer-encoding"])
  end)

  it("may have headers behind it, for clients that take them", function()
    local told
    exports.on_request = function()
      return { body = function(write, trailer)
        write "body"
        told = { trailer("X-Checksum", "abc"), trailer("Content-Length", "5"), trailer("Set-Cookie", "a=b"),
          trailer("X-Split", "a\r\nb") }
      end }
    end
    for _, te in ipairs { "TE: trailers\r\n", "" } do
      local stream = request.connect("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" .. te .. "\r\n")
      local all = ""
      while true do
        local more = stream:read(5)
        if not more then break end
        all = all .. more
      end
      stream:close()
      if te == "" then
        assert.matches("\r\n\r\n4\r\nbody\r\n0\r\n\r\n$", all)
        assert.same({ false, false, false, false }, told)
      else
        assert.matches("\r\n\r\n4\r\nbody\r\n0\r\nX%-Checksum: abc\r\n\r\n$", all)
        assert.same({ true, false, false, false }, told)
      end
    end
    exports.on_request = site
  end)

  it("is held back while the client is behind, and comes whole", function()
    local answer = ask(function()
      return { body = function(write) for i = 1, 200 do write(("%05d"):format(i):rep(4000)) end end }
    end)
    assert.equal(200 * 20000, #answer.body)
    assert.equal("00200", answer.body:sub(-5))
  end)
end)

describe("a handler that fails", function()
  it("gives 500 with the request id", function()
    testing.expect_log("http.handler_failed")
    local answer = ask(function() error("broken on purpose") end)
    assert.equal(500, answer.status)
    assert.is_truthy(answer.body:find(answer.headers["x-request-id"], 1, true))
  end)

  it("gives what it raised when that is an answer", function()
    local answer = ask(function() error({ status = 403, reason = "no" }, 0) end)
    assert.equal(403, answer.status)
  end)

  it("gives 500 for no response, or one that cannot be sent", function()
    testing.expect_log("http.handler_failed")
    for _, response in ipairs {
      { status = 99 }, { status = "200" }, { headers = { ["X"] = "a\r\nY: b" } }, { headers = { ["X\r\n"] = "a" } },
      { headers = { ["Content-Length"] = "5" } }, { headers = { X = true } }, { headers = "x" }, { body = 5.5 and {} },
      { headers = { X = { "a", {} } } },
    } do
      assert.equal(500, ask(function() return response end).status)
    end
    assert.equal(500, ask(function() end).status)
    assert.equal(500, ask(function() return 5 end).status)
  end)

  it("cuts a stream that breaks off", function()
    testing.expect_log("http.stream_failed")
    local answer, reason = ask(function()
      return { body = function(write)
        write("begun")
        error("broken on purpose")
      end }
    end)
    assert.is_nil(answer)
    assert.is_string(reason)
  end)
end)

describe("assets", function()
  it("have names made of their content, and last for ever", function()
    local url, found = request.asset("css/site.css")
    assert.is_true(found)
    assert.matches("^/assets/%x+/css/site%.css$", url)
    local answer = ask(site, { path = url })
    assert.equal(200, answer.status)
    assert.matches("immutable", answer.headers["cache-control"])
    assert.equal("text/css; charset=utf-8", answer.headers["content-type"])
    url, found = request.asset("css/none.css")
    assert.is_false(found)
    assert.equal(404, ask(site, { path = url }).status)
  end)
end)
