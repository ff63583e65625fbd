--- Who may use a route: the options signed_in, guest, role, permission and limit.
local permissions = require "footlight.permissions"
local rate_limit = require "footlight.rate_limit"
local router = require "footlight.router"

local guards = {}

local function send_to_login(req, app)
  local path = app.login .. "?" .. router.query { next = req.target or req.path }
  return req:redirect(path)
end

--- nil if the request may go on; otherwise a response, or it raises an error of errors.lua.
function guards.check(req, route, app)
  local options = route.options
  local wants_account = options.signed_in or options.role or options.permission
  if wants_account and not req.account then
    if req.session_unknown then req:fail(503) end
    -- A page that a role may not know of does not show itself to guests either.
    if (options.role or options.permission) and not options.signed_in then req:not_found() end
    local reads = (req.method == "GET" or req.method == "HEAD") and route.method ~= "WEBSOCKET"
    if reads and not req:wants_json() then return send_to_login(req, app) end
    req:forbidden("sign in first")
  end
  if options.guest and req.account then return req:redirect(req:next_path("/")) end
  if options.role and not permissions.in_role(req.account, options.role) then req:not_found() end
  if options.permission and not permissions.has(req.account, options.permission) then
    req:not_found()
  end
  return nil
end

local function key_of(req, by)
  if type(by) == "function" then return by(req) end
  if by == "account" and req.account then return "account:" .. tostring(req.account.id) end
  return "ip:" .. tostring(req.remote)
end

--- Counts this request against the route's limit; raises 429 beyond it.
function guards.limit(req, route)
  local limit = route.options.limit
  if not limit then return end
  local name = limit.name or route.method .. route.path
  local allowed, wait = rate_limit.hit(name, key_of(req, limit.by), limit.count, limit.seconds)
  if not allowed then req:too_many(wait) end
end

return guards
