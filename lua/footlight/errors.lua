--- Errors that are answers (404, 403 …), and the pages for them and for those that are bugs.
local i18n = require "footlight.i18n"
local log = require "runtime.log"
local template = require "runtime.template"
local view = require "footlight.view"

local errors = {}

local HttpError = { __name = "http error" }
HttpError.__index = HttpError
HttpError.__tostring = function(self)
  return ("HTTP %d%s"):format(self.status, self.detail and ": " .. tostring(self.detail) or "")
end

--- Ends the handler with that status. `detail` is for people and shown on the page.
function errors.raise(status, detail, headers)
  error(setmetatable({ status = status, detail = detail, headers = headers }, HttpError), 0)
end

function errors.is(value) return getmetatable(value) == HttpError end

--- For xpcall: keeps answers as they are and notes the stack of everything else.
function errors.handler(message)
  if errors.is(message) then return message end
  if type(message) == "table" and math.type(message.status) == "integer" then
    -- From the core: input that it refused while a handler read it.
    return setmetatable({ status = message.status, detail = message.reason }, HttpError)
  end
  local text, kind = message, nil
  if type(message) == "table" then text, kind = message.message or message, message.kind end
  return { message = tostring(text), kind = kind, trace = debug.traceback(nil, 2) }
end

local function words(t, status, part)
  local key = ("error.%d.%s"):format(status, part)
  if i18n.has(key) then return t(key) end
  return t("error.other." .. part)
end

-- The lines around the place that a message names, if it is one of our files.
local function source_of(message)
  local path, line = message:match("([%w_%-/.]+%.%a+):(%d+):")
  line = tonumber(line)
  if not path or not line then return nil end
  local root = template.root()
  if path:sub(1, #root + 1) == root .. "/" then path = path:sub(#root + 2) end
  if not (path:find("^lua/") or path:find("^templates/")) or path:find("..", 1, true) then
    return nil
  end
  local text = template.read(root .. "/" .. path)
  if not text then return nil end
  local list, number = {}, 0
  for each in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    if number >= line - 6 and number <= line + 6 then
      list[#list + 1] = { number = ("%4d"):format(number), text = each, here = number == line }
    end
  end
  return path, line, list
end

-- What must not be shown even to a developer: it ends up in screenshots and bug reports.
local hidden = { cookie = true, authorization = true, ["x-csrf-token"] = true }

local function header_list(req)
  local list = {}
  local ok = pcall(function()
    for name, value in pairs(req.headers) do
      list[#list + 1] = { name = name, value = hidden[name:lower()] and "(hidden)" or value }
    end
  end)
  if not ok then return {} end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function development_page(req, app, bug, status)
  local path, line, source = source_of(bug.message)
  local body = view.render("footlight/error", {
    status = status, heading = "This request failed", message = bug.message, trace = bug.trace or "",
    file = path, line = line, source = source or {}, method = req.method,
    target = req.target or req.path, request_id = req.id,
    handler = req.route and req.route.source or "", params = req.params or {},
    account_name = req.account and req.account.name or "guest", headers = header_list(req),
    queries = req.queries or {},
  }, app:globals(req))
  return { status = status, headers = { ["Content-Type"] = "text/html; charset=utf-8" }, body = body }
end

local function problem(req, status, detail, t)
  return req:json_response({
    type = "about:blank", title = words(t, status, "title"), status = status,
    detail = detail, request_id = req.id,
  }, status, "application/problem+json")
end

local function page(req, app, status, detail)
  local t = req.t
  return req:render(app.error_template, {
    status = status, heading = words(t, status, "title"), text = words(t, status, "text"),
    detail = detail, request_id = status >= 500 and req.id or nil,
  }, status)
end

local function plain(status, req)
  return {
    status = status, headers = { ["Content-Type"] = "text/plain; charset=utf-8" },
    body = ("%d\n%s\n"):format(status, tostring(req.id or "")),
  }
end

-- A database that does not answer is no bug of the page: its errors say so by their kind.
local function status_of(bug)
  if bug.kind == "unavailable" or bug.kind == "busy" or bug.kind == "timeout" or bug.kind == "lost" then
    return 503
  end
  return 500
end

--- The response to what a handler raised. Never raises: the last resort is a line of text.
function errors.respond(req, app, raised)
  local answer = errors.is(raised)
  local status = answer and raised.status or status_of(raised)
  local detail = answer and raised.detail or nil
  if not answer then
    log.error("request.failed", {
      method = req.method, path = req.path, error = raised.message, trace = raised.trace,
    })
  end
  local ok, response = xpcall(function()
    if not answer and app.development and not req:wants_json() then
      return development_page(req, app, raised, status)
    end
    if req:wants_json() then return problem(req, status, detail, req.t) end
    return page(req, app, status, detail)
  end, errors.handler)
  if not ok then
    log.error("request.error_page_failed", {
      error = errors.is(response) and tostring(response) or response.message,
    })
    response = plain(status, req)
  end
  for name, value in pairs(answer and raised.headers or {}) do response.headers[name] = value end
  return response
end

return errors
