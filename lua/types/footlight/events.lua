---@meta footlight.events
--- Server-sent events. Handlers use req:events.
local events = {}

--- What the function given to req:events writes to.
---@class EventStream
---@field last_id string? the id of the last message that the client had before it came back
local EventStream = {}

--- One message: its data alone, or { data =, event =, id =, retry = (milliseconds) }; data that is a table is
--- sent as JSON. Waits while the client is behind; raises when it has left.
---@param message string|table
---@return true
function EventStream:send(message) end

--- A line that nobody sees: keeps proxies from closing, and finds out that the client has left.
---@return true
function EventStream:keep_alive() end

---@param req Request
---@param fn fun(stream: EventStream)
---@param options? { deadline: number?, headers: table? }
---@return table response
function events.respond(req, fn, options) end

return events
