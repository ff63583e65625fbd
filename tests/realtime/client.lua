-- A client with lua-http (run by lua5.1, which Debian has it for): lines from standard input go out,
-- messages go to standard output.
local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local websocket = require "http.websocket"

local ws = websocket.new_from_uri(arg[1])
assert(ws:connect(5))
local queue = cqueues.new()
queue:wrap(function()
  local input = socket.fdopen(0)
  input:setmode("bn", "bn")
  while true do -- not by lines(): Lua 5.1 cannot yield in an iterator
    local line = input:read("*l")
    if not line then break end
    assert(ws:send(line, "text", 5))
  end
  ws:close(1000, "", 5)
end)
queue:wrap(function()
  while true do
    local message = ws:receive()
    if not message then return end
    io.stdout:write(message, "\n")
    io.stdout:flush()
  end
end)
assert(queue:loop())
