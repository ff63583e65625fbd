--- Which handler answers which request.
--
--     local site = router.new()
--     site:get("/r/:slug", { name = "room" }, function(req) … req.params.slug … end)
--     site:group({ prefix = "/admin", role = "admin" }, function(admin)
--       admin:post("/models/:id/approve", handler)
--     end)
--
-- A path is made of literal segments, `:name` for one segment and `*name` for the rest; literal wins
-- over `:name`, `:name` over `*name`, whatever the order of the lines. Paths have no slash at the
-- end: with one, GET and HEAD are redirected. Options are guards (signed_in, guest, role, permission,
-- see guards.lua), `name` for url_for, `where` = { parameter = Lua pattern }, `csrf = false`, `limit`
-- (rate_limit.lua), and whatever a middleware of the site reads. A group's options are inherited.
local router = {}

local Router = {}
Router.__index = Router

local methods = { get = "GET", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE" }
local MAX_SEGMENTS = 32
local MAX_PATH = 2048

local function node() return { literal = {} } end

function router.new()
  local core = { root = node(), names = {}, list = {} }
  return setmetatable({ core = core, prefix = "", options = {} }, Router)
end

-- ---- defining ----------------------------------------------------------------------------------

local function segments_of(path)
  local list = {}
  if path == "/" then return list end
  for segment in path:gmatch("/([^/]*)") do list[#list + 1] = segment end
  return list
end

local function merge(below, above)
  local made = {}
  for key, value in pairs(below) do made[key] = value end
  for key, value in pairs(above) do made[key] = value end
  return made
end

-- Where a route was written, for `footlight routes` and for messages.
local function position()
  for level = 3, 8 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if not info.short_src:find("footlight/router", 1, true) then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
  return "?"
end

function Router:add(method, path, options, handler)
  if handler == nil then options, handler = {}, options end
  if type(handler) ~= "function" then
    error(("%s %s: the handler is a %s"):format(method, path, type(handler)), 3)
  end
  path = self.prefix .. (path == "/" and self.prefix ~= "" and "" or path)
  if not path:find("^/") or path:find("//", 1, true) or (#path > 1 and path:find("/$")) then
    error(("a path begins with one slash and has none at its end: %s"):format(path), 3)
  end
  local at, names = self.core.root, {}
  local list = segments_of(path)
  for i, segment in ipairs(list) do
    local sign, name = segment:match("^([:*])([%a_][%w_]*)$")
    if not name and segment:find("^[:*]") then
      error(("'%s' is not the name of a parameter"):format(segment), 3)
    end
    if name then names[#names + 1] = name end
    if sign == "*" then
      if i < #list then error(("*%s stands at the end of a path"):format(name), 3) end
      at.rest = at.rest or node()
      at = at.rest
    elseif sign == ":" then
      at.parameter = at.parameter or node()
      at = at.parameter
    else
      at.literal[segment] = at.literal[segment] or node()
      at = at.literal[segment]
    end
  end
  local route = {
    method = method, path = path, segments = list, parameters = names,
    options = merge(self.options, options), handler = handler, source = position(),
  }
  route.name = options.name
  route.where = route.options.where
  at.routes = at.routes or {}
  if at.routes[method] then
    error(("%s %s is already a route (%s)"):format(method, path, at.routes[method].source), 3)
  end
  at.routes[method] = route
  if route.name then
    local other = self.core.names[route.name]
    if other and other.path ~= path then
      error(("the name '%s' belongs to %s (%s)"):format(route.name, other.path, other.source), 3)
    end
    self.core.names[route.name] = other or route
  end
  table.insert(self.core.list, route)
  return route
end

for name, method in pairs(methods) do
  Router[name] = function(self, path, options, handler)
    self:add(method, path, options, handler)
    return self
  end
end

--- A WebSocket: a GET with an upgrade. The handler is called with the socket (websocket.lua).
function Router:websocket(path, options, handler)
  if handler == nil then options, handler = {}, options end
  self:add("WEBSOCKET", path, options, handler)
  return self
end

--- group({ prefix = "/admin", …guards }, define): define(group) adds routes below the prefix that have
-- the group's options, as far as they do not say otherwise.
function Router:group(options, define)
  local own = merge(self.options, options)
  own.prefix, own.name = nil, nil
  local group = setmetatable(
    { core = self.core, prefix = self.prefix .. (options.prefix or ""), options = own }, Router)
  define(group)
  return group
end

--- All routes in the order of their definition.
function Router:routes() return self.core.list end

-- ---- finding -----------------------------------------------------------------------------------

-- Decoded, or nil where the segment is no text: malformed escapes, control characters, broken UTF-8.
local function decode(segment)
  if segment:find("%", 1, true) then
    if segment:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
    segment = segment:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  end
  if segment:find("%c") or not utf8.len(segment) then return nil end
  return segment
end

local function fits(route, values)
  if not route.where then return true end
  for i, name in ipairs(route.parameters) do
    local pattern = route.where[name]
    if pattern and not values[i]:find("^" .. pattern .. "$") then return false end
  end
  return true
end

-- Depth first: literal, then parameter, then rest. Collects the methods of nodes that fit but do not
-- have this one, so that a 405 can name them.
local function search(at, list, i, values, method, allowed)
  if i > #list then
    if not at.routes then return nil end
    for other, route in pairs(at.routes) do
      if fits(route, values) then allowed[other] = true end
    end
    local route = at.routes[method]
    if route and allowed[method] and fits(route, values) then return route end
    return nil
  end
  local segment = list[i]
  local literal = at.literal[segment]
  local found = literal and search(literal, list, i + 1, values, method, allowed)
  if found then return found end
  local count = #values
  if at.parameter and segment ~= "" then
    values[count + 1] = segment
    found = search(at.parameter, list, i + 1, values, method, allowed)
    if found then return found end
    values[count + 1] = nil
  end
  if at.rest then
    values[count + 1] = table.concat(list, "/", i)
    found = search(at.rest, list, #list + 1, values, method, allowed)
    if found then return found end
    values[count + 1] = nil
  end
  return nil
end

local function allow_list(allowed)
  if allowed.GET then allowed.HEAD = true end
  allowed.OPTIONS, allowed.WEBSOCKET = true, nil
  local list = {}
  for method in pairs(allowed) do list[#list + 1] = method end
  table.sort(list)
  return table.concat(list, ", ")
end

--- match(method, path) → route, parameters. Or nil and what to do instead: { status = 404 },
-- { status = 405, allow = "GET, HEAD, OPTIONS" }, { status = 204, allow } for OPTIONS,
-- { status = 308, path } where the path has a slash too many at its end.
function Router:match(method, path)
  if #path > MAX_PATH then return nil, { status = 404 } end
  local list = segments_of(path)
  if #list > MAX_SEGMENTS then return nil, { status = 404 } end
  local slash = #list > 0 and list[#list] == ""
  if slash then list[#list] = nil end
  for i, segment in ipairs(list) do
    local text = segment ~= "" and decode(segment)
    if not text then return nil, { status = 404 } end
    list[i] = text
  end
  local wanted = method == "HEAD" and "GET" or method
  local values, allowed = {}, {}
  local route = search(self.core.root, list, 1, values, wanted, allowed)
  if not next(allowed) then return nil, { status = 404 } end
  if slash then
    -- One address for one page; a form that was sent to the wrong one is sent on with its body.
    return nil, { status = 308, path = path:sub(1, -2) }
  end
  if not route then
    local status = method == "OPTIONS" and 204 or 405
    return nil, { status = status, allow = allow_list(allowed) }
  end
  local parameters = {}
  for i, name in ipairs(route.parameters) do parameters[name] = values[i] end
  return route, parameters
end

-- ---- addresses ---------------------------------------------------------------------------------

local function encode(text, keep)
  return (tostring(text):gsub("[^%w%-._~" .. keep .. "]", function(char)
    return ("%%%02X"):format(char:byte())
  end))
end
router.encode = encode

--- "a=1&b=x%20y" from a table, sorted by name; nil and false values are left out.
function router.query(values)
  local names, parts = {}, {}
  for name, value in pairs(values) do
    if value ~= false then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    parts[i] = encode(name, "") .. "=" .. encode(values[name], "")
  end
  return table.concat(parts, "&")
end

--- url_for("room", { slug = "ava", tab = "tips" }) → "/r/ava?tab=tips". What the path does not name
-- becomes the query; `_anchor` becomes the fragment. Raises for unknown names and missing parameters.
function Router:url_for(name, values)
  local route = self.core.names[name]
  if not route then error(("no route is named '%s'"):format(tostring(name)), 2) end
  local rest, parts = {}, {}
  for key, value in pairs(values or {}) do rest[key] = value end
  for i, segment in ipairs(route.segments) do
    local sign, parameter = segment:match("^([:*])([%a_][%w_]*)$")
    if parameter then
      local value = rest[parameter]
      if value == nil or value == "" then
        error(("url_for('%s') wants '%s'"):format(name, parameter), 2)
      end
      rest[parameter] = nil
      parts[i] = encode(value, sign == "*" and "/" or "")
    else
      parts[i] = segment
    end
  end
  local anchor = rest._anchor
  rest._anchor = nil
  local url = "/" .. table.concat(parts, "/")
  if next(rest) then
    local query = router.query(rest)
    if query ~= "" then url = url .. "?" .. query end
  end
  return anchor and (url .. "#" .. encode(anchor, "")) or url
end

return router
