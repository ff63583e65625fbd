--- Server-sent events: a response that goes on, made of messages that a browser's EventSource reads.
local json = require "runtime.json"

local events = {}

local Stream = {}
Stream.__index = Stream

local function line(name, value)
  value = tostring(value)
  if value:find("[\r\n%z]") then error(("events: %s has a line break"):format(name), 3) end
  return name .. ": " .. value .. "\n"
end

--- Sends one message: { data =, event =, id =, retry = } or its data alone; a table is sent as JSON. Waits
-- while the client is behind, and raises when it has left.
function Stream:send(message)
  if type(message) ~= "table" then message = { data = message } end
  local parts = {}
  if message.event then parts[#parts + 1] = line("event", message.event) end
  if message.id then parts[#parts + 1] = line("id", message.id) end
  if message.retry then parts[#parts + 1] = line("retry", math.tointeger(message.retry) or error("events: retry is no number", 2)) end
  local data = message.data
  if type(data) == "table" then data = json.encode(data) end
  if data ~= nil then
    -- Every line break of the data, whichever it is, begins another data line: text cannot become a field.
    local text = tostring(data):gsub("\r\n", "\n"):gsub("\r", "\n")
    parts[#parts + 1] = "data: " .. text:gsub("\n", "\ndata: ") .. "\n"
  end
  parts[#parts + 1] = "\n"
  return self.write(table.concat(parts))
end

--- A line that nobody sees: keeps proxies from closing, and finds out that the client has left.
function Stream:keep_alive()
  return self.write(":\n\n")
end

--- The response whose body fn(stream) writes. `stream.last_id` is the id of the last message that the
-- client had before it came back. Options: deadline (seconds), headers.
function events.respond(req, fn, options)
  options = options or {}
  local headers = {}
  for name, value in pairs(options.headers or {}) do headers[name] = value end
  headers["Content-Type"] = "text/event-stream"
  headers["Cache-Control"] = headers["Cache-Control"] or "no-store"
  headers["X-Accel-Buffering"] = "no" -- nginx passes each message on at once
  local last_id = req.headers["last-event-id"]
  return { status = 200, headers = headers, deadline = options.deadline, body = function(write)
    return fn(setmetatable({ write = write, last_id = last_id }, Stream))
  end }
end

return events
