--- The application: the exports of the web service, made of pages. docs/framework.md describes it.
local config = require "runtime.config"
local core = require "runtime.request"
local csrf = require "footlight.csrf"
local errors = require "footlight.errors"
local flash = require "footlight.flash"
local format = require "footlight.format"
local guards = require "footlight.guards"
local i18n = require "footlight.i18n"
local queries = require "footlight.queries"
local request = require "footlight.request"
local router = require "footlight.router"
local security = require "footlight.security"
local session = require "footlight.session"
local template = require "runtime.template"
local view = require "footlight.view"
local websocket = require "footlight.websocket"

local app = {}

local App = {}
App.__index = App

-- ---- what templates see ------------------------------------------------------------------------

local function localized(fn)
  return function(variables, value) return fn(value, variables.locale) end
end
for _, name in ipairs { "credits", "datetime", "date", "time", "ago", "number" } do
  view.filter(name, localized(format[name]), true)
end
view.filter("iso", format.iso)
view.filter("bytes", format.bytes)

view.globals.t = i18n.translator(i18n.default)
view.globals.locale = i18n.default

--- asset("css/site.css") → where the browser finds it: the core knows the names with hashes.
function view.globals.asset(path) return (core.asset(path)) end

--- The framework's part, for one request.
function App:globals(req)
  if not req.view_globals then
    req.view_globals = setmetatable({
      t = req.t, locale = req.locale, account = req.account, request_id = req.id,
      path = req.target or req.path, development = self.development,
      csrf_field = function() return csrf.field(req) end,
      csrf_token = function() return csrf.token(req) end,
      url_for = function(name, values) return self.router:url_for(name, values) end,
    }, {
      __index = function(own, name)
        if name == "flashes" then -- taken only by a page that shows them
          local list = flash.take(req)
          rawset(own, "flashes", list)
          return list
        end
        return view.globals[name]
      end,
    })
  end
  return req.view_globals
end

--- Globals and the site's context.
function App:variables(req, status)
  local globals = self:globals(req)
  if self.context and not req.site_variables then
    req.site_variables = true
    local own = self.context(req)
    for name, value in pairs(own or {}) do globals[name] = value end
  end
  globals.status = status
  return globals
end

-- ---- one request -------------------------------------------------------------------------------

local function language(req)
  local account = req.account
  local cookie = req:cookie("locale")
  local locale = account and account.locale or cookie
  if locale and next(i18n.catalogue(locale)) then return locale end
  return i18n.negotiate(req.headers["accept-language"])
end

local function speak(req)
  req.locale = language(req)
  req.t = i18n.translator(req.locale)
end

local function method_of(req)
  return websocket.wanted(req) and "WEBSOCKET" or req.method
end

local function without_route(req, found)
  if found.status == 308 then
    local target = found.path .. ((req.target or ""):match("%?.*$") or "")
    if not request.is_local(target) then req:not_found() end
    return req:redirect(target, 308)
  elseif found.status == 204 then
    return { status = 204, headers = { Allow = found.allow }, body = "" }
  end
  return req:fail(found.status, nil, found.allow and { Allow = found.allow })
end

local function answer(req, self)
  local route, found = self.router:match(method_of(req), req.raw_path or req.path)
  req.params = route and found or {}
  req.route = route
  session.load(req, self.account)
  speak(req)
  if not route then return without_route(req, found) end
  local response = guards.check(req, route, self)
  if response then return response end
  guards.limit(req, route)
  if route.method == "WEBSOCKET" then return websocket.accept(req, route, self) end
  if route.options.csrf ~= false then
    local right, reason = csrf.check(req, self.site_url)
    if not right then req:forbidden(reason) end
  end
  response = route.handler(req)
  if type(response) ~= "table" then
    error(("the handler of %s %s (%s) returned a %s, and must return a response"):format(
      route.method, route.path, route.source, type(response)), 0)
  end
  return response
end

-- In development a page says that the code on disk is not the code that made it.
local function show_load_error(response)
  local message = config.load_error()
  if not message or type(response.body) ~= "userdata" then return end
  template.raw(response.body, (view.render("footlight/reload", { message = message })))
end

local function finish(self, req, response)
  local headers = response.headers or {}
  response.headers = headers
  if self.development then show_load_error(response) end
  response.status = response.status or 200
  local options = req.route and req.route.options or {}
  flash.save(req)
  local cookies = request.cookies(req)
  if #cookies > 0 then
    headers["Set-Cookie"] = cookies
    headers["Cache-Control"] = "private, no-store"
  end
  local good = response.status < 400
  if good and req.validators then
    for name, value in pairs(req.validators) do headers[name] = headers[name] or value end
  end
  security.headers(headers, {
    csp = self.csp, camera = options.camera, secure = req.secure,
    cache = good and (options.cache or req.validators and "private, no-cache") or nil,
  })
  return response
end

function App:handle(req)
  request.prepare(req, self)
  req.locale, req.t, req.params = i18n.default, view.globals.t, {}
  if self.development then queries.watch(req) end
  local ok, response = xpcall(answer, errors.handler, req, self)
  if not ok then response = errors.respond(req, self, response) end
  local done, result = xpcall(finish, errors.handler, self, req, response)
  if done then return result end
  return finish(self, { cookies = {} }, errors.respond(req, self, result))
end

-- ---- making one --------------------------------------------------------------------------------

local function add_pages(self, names)
  for _, name in ipairs(names) do
    local page = name
    if type(name) == "string" then page = require(name) end
    if type(page) == "table" then page = page.routes end
    if type(page) ~= "function" then
      error(("the page module '%s' must return function(site)"):format(tostring(name)), 3)
    end
    page(self.router)
  end
end

--- Makes the exports of the web service. See docs/framework.md for the options.
function app.new(options)
  local self = setmetatable({
    router = router.new(), context = options.context, account = options.account,
    error_template = options.errors or "errors/page", login = options.login or "/login",
    development = options.development, site_url = config.get("site.url", ""),
    csp = security.content_policy(options.form_targets),
  }, App)
  if self.development == nil then self.development = config.development end
  add_pages(self, options.pages or {})
  local exports = { app = self }
  function exports.on_request(req) return self:handle(req) end
  function exports.on_websocket(socket) return websocket.run(socket, self) end
  --- Part of every reload: nothing that does not compile is swapped in.
  function exports.check()
    i18n.load()
    view.check()
    if not view.exists(self.error_template) then
      error(("the error page '%s' does not exist"):format(self.error_template), 0)
    end
  end
  return exports
end

return app
