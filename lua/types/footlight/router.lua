---@meta footlight.router
--- Which handler answers which request. Paths have `:name` for a segment and `*name` for the rest.
local router = {}

---@class Route.Options
---@field name? string for url_for
---@field where? table<string, string> Lua pattern that a whole parameter must match
---@field signed_in? boolean guests are sent to sign in
---@field guest? boolean signed-in people are sent away
---@field role? string|string[] others get 404
---@field permission? string others get 404
---@field csrf? boolean false: no token and Origin check
---@field limit? { name: string?, count: integer, seconds: integer, by: "ip"|"account"|fun(req: Request): string }
---@field camera? boolean the page may ask for camera and microphone
---@field cache? string Cache-Control of what succeeds; default "private, no-store"
---@field protocols? string of a WebSocket: comma-separated subprotocols that it speaks
---@field message_limit? integer of a WebSocket: bytes of one message (65536)
---@field prefix? string of a group

---@class Router
local Router = {}

---@param path string
---@param options Route.Options|fun(req: Request): table options, or the handler if there are none
---@param handler? fun(req: Request): table
---@return Router
function Router:get(path, options, handler) end

--- As get; so are put, patch and delete.
---@param path string
---@param options Route.Options|fun(req: Request): table
---@param handler? fun(req: Request): table
---@return Router
function Router:post(path, options, handler) end

---@param path string
---@param options Route.Options|fun(req: Request): table
---@param handler? fun(req: Request): table
---@return Router
function Router:put(path, options, handler) end

---@param path string
---@param options Route.Options|fun(req: Request): table
---@param handler? fun(req: Request): table
---@return Router
function Router:patch(path, options, handler) end

---@param path string
---@param options Route.Options|fun(req: Request): table
---@param handler? fun(req: Request): table
---@return Router
function Router:delete(path, options, handler) end

--- A GET with an upgrade to WebSocket (footlight.websocket).
---@param path string
---@param options Route.Options|fun(socket: WebSocket)
---@param handler? fun(socket: WebSocket)
---@return Router
function Router:websocket(path, options, handler) end

--- Routes below a prefix that share options.
---@param options Route.Options
---@param define fun(group: Router)
---@return Router
function Router:group(options, define) end

--- The address of a named route; values that the path does not name become the query, `_anchor` the fragment.
---@param name string
---@param values? table
---@return string
function Router:url_for(name, values) end

--- The route and its parameters; or nil and { status, allow, path } of what to do instead.
---@param method string
---@param path string not decoded
---@return table? route
---@return table more
function Router:match(method, path) end

--- All routes in the order of their definition.
---@return table[]
function Router:routes() end

---@return Router
function router.new() end

--- Percent-encodes all but unreserved characters and those in `keep`.
---@param text string
---@param keep string
---@return string
function router.encode(text, keep) end

--- "a=1&b=x%20y", sorted by name; nil and false are left out.
---@param values table
---@return string
function router.query(values) end

return router
