--- WebSockets of the site: `site:websocket(path, options, handler)`, and handler(socket) in a coroutine
-- of its own for as long as the connection lives.
--
-- The connection is the core's and outlives a reload: the handler's coroutine is then cancelled where it
-- waits, and the handler of the new code is called with socket.resumed and what socket.session held.
local csrf = require "footlight.csrf"
local guards = require "footlight.guards"
local i18n = require "footlight.i18n"
local json = require "runtime.json"
local log = require "runtime.log"
local session = require "footlight.session"

local websocket = {}

local METHOD = "WEBSOCKET"
local GONE, REFUSED = 1012, 1008 -- close codes: the route is no more; not for this account (any more)

--- Whether the request asks for one.
function websocket.wanted(req)
  local upgrade = req.headers["upgrade"]
  return req.method == "GET" and upgrade ~= nil and upgrade:lower() == "websocket"
end

--- The response that makes the core take the connection over. Another site's page may open a WebSocket
-- with the visitor's cookies, so where it comes from is checked unless the route says `csrf = false`.
function websocket.accept(req, route, app)
  if route.options.csrf ~= false and not csrf.same_site(req, app.site_url) then
    req:forbidden("a WebSocket from another site")
  end
  return {
    websocket = json.encode {
      path = req.raw_path or req.path, query = req.query, remote = req.remote, locale = req.locale,
      account = req.account and req.account.id, session = {},
    },
    protocols = route.options.protocols, message_limit = route.options.message_limit,
  }
end

-- The guards once more: what was allowed when the connection was made may not be now.
local function still_allowed(socket, route, app)
  local function refuse() error("refused", 0) end
  local subject = {
    method = METHOD, account = socket.account, fail = refuse, not_found = refuse, forbidden = refuse,
    wants_json = function() return true end, redirect = refuse, next_path = function() return "/" end,
  }
  return (pcall(guards.check, subject, route, app))
end

-- At the end of the handler, however it comes: what the next one is to know.
local function keep(socket, state)
  if not socket:is() then return end
  state.session = socket.session
  local ok, reason = pcall(function() socket:state(json.encode(state)) end)
  if not ok then log.error("websocket.session_lost", { path = state.path, error = tostring(reason) }) end
end

--- The export on_websocket: binds a connection to the handler of this generation.
function websocket.run(socket, app)
  local _, resumed, id = socket:is()
  local state = json.decode(socket:state())
  local route, params = app.router:match(METHOD, state.path)
  if not route then return socket:close(GONE, "there is nothing here any more") end
  socket.id, socket.resumed = id, resumed
  socket.path, socket.query, socket.remote, socket.params = state.path, state.query, state.remote, params
  socket.locale, socket.t = state.locale, i18n.translator(state.locale)
  socket.session = state.session
  if state.account then socket.account = session.account(state.account, nil, app.account) end
  if resumed and not still_allowed(socket, route, app) then return socket:close(REFUSED, "not allowed any more") end
  local _ <close> = setmetatable({}, { __close = function() keep(socket, state) end })
  route.handler(socket)
end

return websocket
