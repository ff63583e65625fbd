--- What a handler can do with its request, beside what lua_http.c gives it.
local conditional = require "footlight.conditional"
local csrf = require "footlight.csrf"
local errors = require "footlight.errors"
local events = require "footlight.events"
local flash = require "footlight.flash"
local json = require "runtime.json"
local rate_limit = require "footlight.rate_limit"
local session = require "footlight.session"
local view = require "footlight.view"

local methods = {}

-- ---- input -------------------------------------------------------------------------------------

--- The fields of the form that was sent: name → text, or a list where a name came more than once, or
-- a table for a file. Read once; {} if there is no body.
function methods:fields()
  if self.form_fields then return self.form_fields end
  local fields, files = {}, nil
  if self.has_body and (self.headers["content-type"] or ""):find("^application/json") then
    fields = self:json()
    if type(fields) ~= "table" then errors.raise(400, "the JSON is no object") end
  elseif self.has_body then
    fields, files = self:form()
  end
  for _, file in ipairs(files or {}) do fields[file.name] = file end
  self.form_fields = fields
  return fields
end

--- A path of this site that may be sent on to: one slash, no backslash, no control characters. Anything
-- else would let a link of ours lead to another site.
local function is_local(path)
  return type(path) == "string" and #path <= 2000 and path:find("^/") ~= nil
    and not path:find("^/[/\\]") and not path:find("[%c\\]") and utf8.len(path) ~= nil
end

function methods:next_path(default)
  local value = self.query.next
  if self.method == "POST" then
    local ok, fields = pcall(self.fields, self)
    if ok and fields.next ~= nil then value = fields.next end
  end
  return is_local(value) and value or default or "/"
end

--- The value of a cookie that set_cookie made: over https its name has the prefix __Host-.
function methods:cookie(name)
  local set = self.cookies_set and self.cookies_set[name]
  if set then return set.value end
  return self.cookies[self.secure and "__Host-" .. name or name]
end

function methods:wants_json()
  local accept = self.headers["accept"] or ""
  local kind = self.headers["content-type"] or ""
  return accept:find("json", 1, true) ~= nil
    or (kind:find("^application/json") ~= nil and not accept:find("text/html", 1, true))
end

-- ---- responses ---------------------------------------------------------------------------------

function methods:render(name, variables, status)
  return {
    status = status or 200, headers = { ["Content-Type"] = "text/html; charset=utf-8" },
    body = view.render(name, variables, self.app:variables(self, status or 200)),
  }
end

function methods:redirect(path, status)
  if not is_local(path) then
    error(("redirect: '%s' is not a path of this site"):format(tostring(path)), 2)
  end
  return self:redirect_out(path, status)
end

--- To another site, whose address is the caller's own and not the visitor's.
function methods:redirect_out(url, status)
  return {
    status = status or 303, headers = { Location = url, ["Content-Type"] = "text/plain" }, body = "",
  }
end

function methods:json_response(value, status, kind)
  return {
    status = status or 200, headers = { ["Content-Type"] = kind or "application/json" },
    body = json.encode(value),
  }
end

function methods:text_response(text, status, kind)
  return {
    status = status or 200, headers = { ["Content-Type"] = kind or "text/plain; charset=utf-8" },
    body = text,
  }
end

--- A response that goes on: fn(stream) sends messages to a browser's EventSource.
function methods:events(fn, options) return events.respond(self, fn, options) end

--- Says what the answer is made of, etag (any text) or modified (seconds) or both; they become its
-- headers. A 304 to return if the client has that already, else nil: make the answer.
function methods:unchanged(is)
  local headers, has = conditional.check(self, is)
  self.validators = headers
  if has then return { status = 304, headers = {}, body = "" } end
end

function methods:fail(status, detail, headers) errors.raise(status, detail, headers) end
function methods:not_found(reason) errors.raise(404, reason) end
function methods:forbidden(reason) errors.raise(403, reason) end
function methods:bad_request(reason) errors.raise(400, reason) end
function methods:conflict(reason) errors.raise(409, reason) end
function methods:too_many(seconds)
  errors.raise(429, nil, { ["Retry-After"] = tostring(math.max(math.ceil(seconds or 1), 1)) })
end

-- ---- cookies, flash, sessions, limits ----------------------------------------------------------

local function cookie_text(req, name, value, options)
  local parts = { name .. "=" .. value, "Path=" .. (options.path or "/") }
  if options.max_age then parts[#parts + 1] = ("Max-Age=%d"):format(options.max_age) end
  if options.http_only ~= false then parts[#parts + 1] = "HttpOnly" end
  if req.secure then parts[#parts + 1] = "Secure" end
  parts[#parts + 1] = "SameSite=" .. (options.same_site or "Lax")
  return table.concat(parts, "; ")
end

--- options: max_age (seconds; without it until the browser closes), path, http_only (default true),
-- same_site (default "Lax"), plain = true for a name without __Host- (a cookie that scripts share).
function methods:set_cookie(name, value, options)
  options = options or {}
  value = tostring(value)
  if not name:find("^[%w_-]+$") or value:find('[^%w!#$%%&\'()*+/:<=>?@%[%]^_`{|}~.-]') then
    error(("the cookie '%s' has a value that no cookie can have"):format(name), 2)
  end
  local prefix = self.secure and not options.plain and (options.path or "/") == "/"
  local sent = (prefix and "__Host-" or "") .. name
  self.cookies_set = self.cookies_set or {}
  self.cookies_set[name] =
    { value = value, text = cookie_text(self, sent, value, options) }
end

function methods:clear_cookie(name, options)
  local own = { max_age = 0 }
  for key, value in pairs(options or {}) do own[key] = value end
  self:set_cookie(name, "", own)
  self.cookies_set[name].value = nil
end

function methods:flash(text, kind) flash.add(self, text, kind) end
function methods:sign_in(account) return session.sign_in(self, account) end
function methods:sign_out() return session.sign_out(self) end

--- Counts one use of `name`; false and the seconds to wait beyond `count` in `seconds`.
function methods:allow(name, count, seconds, key)
  return rate_limit.hit(name, key or "ip:" .. tostring(self.remote), count, seconds)
end

function methods:url_for(name, values) return self.app.router:url_for(name, values) end
function methods:csrf_token() return csrf.token(self) end

-- ---- making one --------------------------------------------------------------------------------

local request = { methods = methods, is_local = is_local }

-- The core's requests look their methods up in a table that we may add to; once a state is enough.
local shared = false

--- Gives the core's request these methods. `app` is the application that answers it.
function request.prepare(req, app)
  if not shared and type(req) == "userdata" then
    local core = require("runtime.request").methods
    for name, method in pairs(methods) do core[name] = method end
    shared = true
  elseif type(req) == "table" then
    for name, method in pairs(methods) do req[name] = method end
  end
  req.app = app
  return req
end

--- Cookies that the request set, as values of Set-Cookie, sorted by name.
function request.cookies(req)
  local names, list = {}, {}
  for name in pairs(req.cookies_set or {}) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do list[i] = req.cookies_set[name].text end
  return list
end

return request
