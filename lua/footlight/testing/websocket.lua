--- The browser's end of a WebSocket, for tests: client:websocket("/path") of footlight.testing.client. The
-- frames go through the real server.
local crypto = require "runtime.crypto"
local request = require "runtime.request"

local LIMIT = 5
local kinds = { [1] = "text", [2] = "binary", [8] = "close", [9] = "ping", [10] = "pong" }
local codes = {}
for code, name in pairs(kinds) do codes[name] = code end

local Socket = {}
Socket.__index = Socket

-- Reads on until `input` holds at least so many bytes. False and the reason at the end.
function Socket:fill(size, seconds)
  while #self.input < size do
    local bytes, reason = self.stream:read(seconds)
    if not bytes then return false, reason end
    self.input = self.input .. bytes
  end
  return true
end

function Socket:take(size)
  local bytes = self.input:sub(1, size)
  self.input = self.input:sub(size + 1)
  return bytes
end

-- One frame: kind, payload. The server's are neither masked nor in parts.
function Socket:frame(seconds)
  local ok, reason = self:fill(2, seconds)
  if not ok then return nil, reason end
  local first, size = self.input:byte(1, 2)
  local head = size == 127 and 10 or size == 126 and 4 or 2
  ok, reason = self:fill(head, seconds)
  if not ok then return nil, reason end
  if size == 126 then size = string.unpack(">I2", self.input, 3) end
  if size == 127 then size = string.unpack(">I8", self.input, 3) end
  ok, reason = self:fill(head + size, seconds)
  if not ok then return nil, reason end
  self:take(head)
  return kinds[first & 15], self:take(size)
end

--- Sends one frame of the kind ("text").
function Socket:send(payload, kind)
  local size = #payload
  local head = string.char(0x80 | codes[kind or "text"])
  if size < 126 then head = head .. string.char(0x80 | size)
  elseif size < 65536 then head = head .. string.pack(">BI2", 0xFE, size)
  else head = head .. string.pack(">BI8", 0xFF, size) end
  -- A mask of zeros leaves the payload as it is; the mask's own tests are the core's.
  return self.stream:write(head .. "\0\0\0\0" .. payload)
end

--- The next message and "text" or "binary"; nil, "closed", code, reason at the end; nil, "timeout".
-- Answers pings and the close frame as a browser would.
function Socket:receive(seconds)
  while true do
    local kind, payload = self:frame(seconds or LIMIT)
    if not kind and payload == "timeout" then return nil, "timeout" end
    if not kind then return nil, "closed", self.code or 1006, self.reason end
    if kind == "text" or kind == "binary" then return payload, kind end
    if kind == "ping" then self:send(payload, "pong") end
    if kind == "close" then
      self.code = #payload >= 2 and string.unpack(">I2", payload) or 1005
      self.reason = payload:sub(3)
      if not self.closing then self:send(payload:sub(1, 2), "close") end
      self.closing = true
    end
  end
end

--- The close handshake; returns the code of the other end.
function Socket:close(code, reason)
  if not self.closing then
    self.closing = true
    self:send(string.pack(">I2", code or 1000) .. (reason or ""), "close")
  end
  repeat
    local message, why = self:receive()
    if why == "timeout" then error("the WebSocket does not close", 2) end
  until not message
  self.stream:close()
  return self.code
end

--- Stops reading what the server sends, or goes on.
function Socket:pause(on) self.stream:pause(on) end

--- Cuts the connection without a word.
function Socket:cut() self.stream:close() end

local websocket = {}

--- A connection, or nil and the answer that refused it ({ status, head, body }).
function websocket.open(path, headers)
  local lines = { ("GET %s HTTP/1.1"):format(path) }
  local all = {
    host = "localhost", upgrade = "websocket", connection = "Upgrade", ["sec-websocket-version"] = "13",
    ["sec-websocket-key"] = crypto.base64(crypto.random_bytes(16)),
  }
  for name, value in pairs(headers) do all[name:lower()] = value end
  for name, value in pairs(all) do lines[#lines + 1] = name .. ": " .. value end
  local stream = request.connect(table.concat(lines, "\r\n") .. "\r\n\r\n")
  local socket = setmetatable({ stream = stream, input = "" }, Socket)
  local stop
  repeat
    local bytes, reason = stream:read(LIMIT)
    if not bytes then error(("%s: no answer to the handshake (%s)"):format(path, reason), 2) end
    socket.input = socket.input .. bytes
    stop = select(2, socket.input:find("\r\n\r\n", 1, true))
  until stop
  local head = socket:take(stop)
  local status = tonumber(head:match("^HTTP/1%.1 (%d+)"))
  if status == 101 then
    socket.head = head
    return socket
  end
  stream:close()
  return nil, { status = status, head = head, body = socket.input }
end

return websocket
