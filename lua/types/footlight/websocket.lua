---@meta footlight.websocket
--- WebSockets of the site: `site:websocket(path, options, handler)`. The handler gets the socket, and the
--- connection is closed when it returns (1000) or fails (1011).
local websocket = {}

--- The connection. It outlives a reload: the handler of the new code is then called with it anew.
---@class WebSocket
---@field session table what the next handler is to know; anything that is JSON
---@field resumed boolean the code was reloaded: this is not the first handler of the connection
---@field params table<string, string> of the path
---@field path string as it was asked for
---@field query table<string, string|string[]>
---@field account? table who was signed in, read anew after a reload
---@field locale string
---@field t fun(key: string, values?: table): string
---@field remote string the client's address
---@field id string of the request that opened it
local WebSocket = {}

--- The next message and "text" or "binary"; nil and "timeout", or nil, "closed", the close code and the
--- reason. What was sent before the end is received before the end. CPU and memory limits begin anew.
---@param seconds? number for ever if absent
---@return string? message, string kind, integer? code, string? reason
function WebSocket:receive(seconds) end

--- At most 1 MiB, text in UTF-8. Waits while the client is behind; nil and "closed" when it has gone.
---@param message string
---@param binary? boolean
---@return boolean? sent, string? reason
function WebSocket:send(message, binary) end

---@param code? integer 1000, 1001, 1007 to 1014, 3000 to 4999
---@param reason? string at most 123 bytes
function WebSocket:close(code, reason) end

--- Whether the request asks for a WebSocket.
---@param req Request
---@return boolean
function websocket.wanted(req) end

--- For the application: the response that turns a request into a WebSocket of the route.
---@param req Request
---@param route table
---@param app table
---@return table response
function websocket.accept(req, route, app) end

--- For the application, its export on_websocket: runs the route's handler on a connection.
---@param socket WebSocket
---@param app table
function websocket.run(socket, app) end

return websocket
