--- A browser without a screen: requests go through the real server into the site's on_request.
--
--   local client = require("footlight.testing.client").new()
--   local page = client:get("/login")
--   page = client:submit(page, { email = "ava@example.org", password = "…" })
--   assert.equal(200, page.status)
local json = require "runtime.json"
local request = require "runtime.request"
local text = require "runtime.text"
local websocket = require "footlight.testing.websocket"

local REDIRECTS_MOST = 10

local Client = {}
Client.__index = Client

local Page = {}
Page.__index = Page

local entities = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'", ["#39"] = "'", ["#34"] = '"' }

local function unescape(value)
  return (value:gsub("&(#?%w+);", function(name)
    local code = tonumber(name:match("^#(%d+)$")) or tonumber(name:match("^#x(%x+)$") or "", 16)
    return entities[name] or (code and utf8.char(code))
  end))
end

-- The attributes of one tag's inside.
local function attributes(tag)
  local found = {}
  for name in tag:gsub('[%w_:-]+%s*=%s*"[^"]*"', ""):gmatch("[%w_-]+") do found[name:lower()] = "" end
  for name, value in tag:gmatch('([%w_:-]+)%s*=%s*"([^"]*)"') do found[name:lower()] = unescape(value) end
  return found
end

local function encode(values)
  local parts = {}
  for name, value in pairs(values) do
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      parts[#parts + 1] = text.url(tostring(name)) .. "=" .. text.url(tostring(one))
    end
  end
  table.sort(parts)
  return table.concat(parts, "&")
end

local prepared = false

-- Loading the site and its templates within the first request would count against that request's limits.
-- What is wrong with them shows in that request. Templates that a spec has loaded itself are left alone.
local function prepare()
  if prepared then return end
  prepared = true
  pcall(function()
    local site = require "site"
    if not next(require("footlight.view").list()) then site.check() end
  end)
end

--- A client with no cookies. Options: headers (sent with every request), remote (its address).
function Client.new(options)
  prepare()
  return setmetatable({ cookies = {}, options = options or {} }, Client)
end

function Client:cookie_header()
  local parts = {}
  for name, value in pairs(self.cookies) do parts[#parts + 1] = name .. "=" .. value end
  table.sort(parts)
  return parts[1] and table.concat(parts, "; ")
end

function Client:keep_cookies(headers)
  local lines = headers["set-cookie"] or {}
  for _, line in ipairs(type(lines) == "table" and lines or { lines }) do
    local name, value = line:match("^%s*([^=]+)=([^;]*)")
    local gone = line:lower():find("max%-age=0") or line:find("1970")
    if name then self.cookies[name] = not gone and value or nil end
  end
end

--- One request without following redirects; returns a page: status, headers, body, url, and methods.
function Client:request(method, path, options)
  options = options or {}
  local headers = { host = "localhost" }
  for _, more in ipairs { self.options.headers or {}, options.headers or {} } do
    for name, value in pairs(more) do headers[name:lower()] = value end
  end
  headers.cookie = self:cookie_header()
  local body = options.body
  if options.form then
    body = encode(options.form)
    headers["content-type"] = "application/x-www-form-urlencoded"
  elseif options.json ~= nil then
    body = json.encode(options.json)
    headers["content-type"] = "application/json"
  end
  local answer, why = request.dispatch {
    method = method, path = path, headers = headers, body = body, remote = self.options.remote,
    secure = options.secure,
  }
  if not answer then error(("%s %s: %s"):format(method, path, why), 2) end
  self:keep_cookies(answer.headers)
  return setmetatable({ status = answer.status, headers = answer.headers, body = answer.body or "",
    url = path }, Page)
end

local function location_of(page)
  local location = page.headers.location
  return location and (location:gsub("^https?://[^/]+", ""))
end

--- As a browser: follows redirects unless options.follow is false.
function Client:open(method, path, options)
  local page = self:request(method, path, options)
  if options and options.follow == false then return page end
  for _ = 1, REDIRECTS_MOST do
    local location = page.status >= 300 and page.status < 400 and location_of(page)
    if not location then return page end
    local keep = page.status == 307 or page.status == 308
    page = self:request(keep and method or "GET", location, keep and options or nil)
  end
  error(path .. " redirects for ever", 2)
end

function Client:get(path, options) return self:open("GET", path, options) end
function Client:head(path, options) return self:open("HEAD", path, options) end
function Client:delete(path, options) return self:open("DELETE", path, options) end

--- A WebSocket with the client's cookies: a socket (footlight.testing.websocket), or nil and the answer.
function Client:websocket(path, headers)
  local all = { cookie = self:cookie_header(), ["x-forwarded-for"] = self.options.remote }
  for _, more in ipairs { self.options.headers or {}, headers or {} } do
    for name, value in pairs(more) do all[name:lower()] = value end
  end
  return websocket.open(path, all)
end

--- Posts a form as it is; submit() is for pages with a form in them.
function Client:post(path, form, options)
  options = options or {}
  options.form = form
  return self:open("POST", path, options)
end

--- Fills in and sends a form of the page (the only one with an action that contains `which`, else the
-- first that posts). Hidden fields, the CSRF token among them, and what is filled in already are kept.
function Client:submit(page, values, which)
  local form = page:form(which)
  if not form then
    error(("no such form on %s, which answered %d: %s"):format(page.url, page.status, page:text():sub(1, 200)), 2)
  end
  local fields = {}
  for name, value in pairs(form.fields) do fields[name] = value end
  for name, value in pairs(values or {}) do fields[name] = value end
  local action = form.action ~= "" and form.action or page.url
  if form.method == "GET" then return self:get(action:gsub("%?.*$", "") .. "?" .. encode(fields)) end
  return self:post(action, fields)
end

--- The forms of the page: { action, method, fields = { name = value } }.
function Page:forms()
  local forms = {}
  for tag, inside in self.body:gmatch("<form([^>]*)>(.-)</form>") do
    local form = attributes(tag)
    local fields = {}
    for input in inside:gmatch("<input([^>]*)>") do
      local a = attributes(input)
      local box = a.type == "checkbox" or a.type == "radio"
      if a.name and a.type ~= "submit" and a.type ~= "file" and (not box or a.checked) then
        fields[a.name] = a.value or (box and "on" or "")
      end
    end
    for tag_text, value in inside:gmatch("<textarea([^>]*)>(.-)</textarea>") do
      local a = attributes(tag_text)
      if a.name then fields[a.name] = unescape(value:gsub("^\n", "")) end
    end
    for tag_text, list in inside:gmatch("<select([^>]*)>(.-)</select>") do
      local a = attributes(tag_text)
      for option in list:gmatch("<option([^>]*)>") do
        local o = attributes(option)
        if a.name and (o.selected or fields[a.name] == nil) then fields[a.name] = o.value or "" end
      end
    end
    forms[#forms + 1] = { action = form.action or "", method = (form.method or "get"):upper(), fields = fields }
  end
  return forms
end

function Page:form(which)
  for _, form in ipairs(self:forms()) do
    if which and form.action:find(which, 1, true) or not which and form.method == "POST" then return form end
  end
end

--- The text of the page without tags, spaces folded.
function Page:text()
  local plain = self.body:gsub("<script.->.-</script>", " "):gsub("<style.->.-</style>", " "):gsub("<[^>]*>", " ")
  return (unescape(plain):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

function Page:has(wanted) return self:text():find(wanted, 1, true) ~= nil end

function Page:json()
  local value, why = json.decode(self.body)
  if value == nil then error(("%s is not JSON: %s"):format(self.url, why), 2) end
  return value
end

return Client
