-- runtime.http: outgoing requests. The other end is Python's own HTTP server on a free port.
local http = require "runtime.http"
local process = require "runtime.process"
local task = require "runtime.task"

local server_code = [[
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = (self.command + " " + self.path + " " + (self.headers.get("X-Test") or "-") + " ").encode()
        body += self.rfile.read(length)
        self.send_response(302 if self.path == "/redirect" else 200)
        if self.path == "/redirect": self.send_header("Location", "/there")
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
for i in range(int(sys.argv[1])): server.handle_request()
]]

-- Serves so many requests, calls fn(base URL), and waits for the server to end.
local function with_server(requests, fn)
  local path = os.tmpname()
  local port_path = path .. ".port"
  local handle = assert(io.open(path, "w"))
  handle:write((server_code:gsub("print%(server.server_port, flush=True%)",
    function() return ("import os\nopen(%q, 'w').write(str(server.server_port)); os.rename(%q, %q)"):format(
      port_path .. ".new", port_path .. ".new", port_path) end)))
  handle:close()
  local running = task.spawn(function()
    return process.run({ "/usr/bin/python3", path, tostring(requests) }, { timeout = 20 })
  end)
  local port
  for _ = 1, 1000 do
    local file = io.open(port_path)
    port = file and file:read("a")
    if file then file:close() break end
    task.sleep(0.01)
  end
  local ok, why = pcall(fn, "http://127.0.0.1:" .. assert(port, "the server did not start"))
  if not ok then running:cancel() end
  pcall(running.wait, running)
  os.remove(path)
  os.remove(port_path)
  if not ok then error(why, 0) end
end

describe("http.request", function()
  it("sends method, headers and body, and gives status, headers and body", function()
    with_server(4, function(base)
      local answer = assert(http.request { url = base .. "/a?b=c", headers = { ["X-Test"] = "yes" } })
      assert.equal(200, answer.status)
      assert.equal("GET /a?b=c yes ", answer.body)
      assert.same({ "a=1", "b=2" }, answer.headers["set-cookie"])
      assert.equal("POST /p - hello", assert(http.request { url = base .. "/p", body = "hello" }).body)
      assert.equal("PUT /p - x", assert(http.request { url = base .. "/p", method = "PUT", body = "x" }).body)
      assert.equal("", assert(http.request { url = base .. "/h", method = "HEAD" }).body)
    end)
  end)

  it("follows redirects when told to", function()
    with_server(3, function(base)
      assert.equal(302, assert(http.request { url = base .. "/redirect" }).status)
      assert.equal("GET /there - ", assert(http.request { url = base .. "/redirect", redirects = 1 }).body)
    end)
  end)

  it("gives nil and a reason that begins with its kind", function()
    local function reason(options)
      local answer, why = http.request(options)
      assert.is_nil(answer)
      return why
    end
    assert.matches("^unreachable: ", reason { url = "http://127.0.0.1:1/" })
    assert.matches("^refused: ", reason { url = "http://127.0.0.1:1/", guard = true })
    assert.matches("^refused: ", reason { url = "http://localhost:1/", guard = true })
    assert.matches("^refused: ", reason { url = "http://[::ffff:10.0.0.1]/", guard = true })
    assert.matches("begin with http", reason { url = "file:///etc/passwd" })
    assert.matches("would break", reason { url = "http://127.0.0.1:1/", headers = { X = "a\r\nY: b" } })
    with_server(1, function(base)
      assert.matches("^too large: ", reason { url = base .. "/", max = 3 })
    end)
  end)

  it("ends with its coroutine", function()
    with_server(1, function(base)
      local waiting = task.spawn(function() http.request { url = base .. "/" } end)
      waiting:cancel()
      assert.is_false((pcall(waiting.wait, waiting)))
      assert.equal(200, http.request { url = base .. "/" }.status)
    end)
  end)
end)

describe("http.smtp", function()
  it("says why a mail could not be sent", function()
    local sent, why = http.smtp { url = "smtp://127.0.0.1:1/", from = "a@b.example", to = "c@d.example",
                                  message = "Subject: x\r\n\r\nx" }
    assert.is_nil(sent)
    assert.matches("^unreachable: ", why)
    sent, why = http.smtp { url = "smtp://127.0.0.1:1/", from = "a@b.example", to = { "x>\r\nRCPT" }, message = "x" }
    assert.is_nil(sent)
    assert.matches("malformed", why)
  end)
end)
