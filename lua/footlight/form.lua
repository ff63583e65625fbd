--- Forms: what fields there are, what may stand in them, and what to say when it does not.
--
--     local tip = form.define {
--       { "amount", form.integer { min = 1, max = 100000 } },
--       { "message", form.text { max = 200, optional = true } },
--     }
--     local values, errors = tip:read(req)
--
-- Input that no honest browser sends — broken UTF-8, a scalar field twice — is a 400 at once. Control
-- and bidi-override characters are refused, lengths count code points, unknown fields are ignored.
local format = require "footlight.format"
local i18n = require "footlight.i18n"

local form = {}

local Field = {}
Field.__index = Field

local Form = {}
Form.__index = Form

-- ---- text --------------------------------------------------------------------------------------

-- C0 and C1 controls, DEL, and what turns the direction of text around (Trojan source).
local function has_control(text, lines)
  if text:find(lines and "[\0-\8\11-\31\127]" or "[\0-\31\127]") then return true end
  if not text:find("[\194\216\226]") then return false end
  for _, code in utf8.codes(text) do
    if (code >= 0x80 and code <= 0x9f) or code == 0x61c or code == 0x200e or code == 0x200f
      or (code >= 0x202a and code <= 0x202e) or (code >= 0x2066 and code <= 0x2069)
      or code == 0x2028 or code == 0x2029 then
      return true
    end
  end
  return false
end

local function trim(text) return text:match("^%s*(.-)%s*$") end

-- Every parse(self, raw, req) returns the value, or nil and the key of an error and its values. `raw`
-- is a string of valid UTF-8, never empty.
local parse = {}

local function length_errors(self, text)
  local length = utf8.len(text)
  if self.min and length < self.min then return "too_short", { count = self.min } end
  if length > self.max then return "too_long", { count = self.max } end
end

function parse.text(self, raw)
  local text = raw
  if self.lines then text = text:gsub("\r\n?", "\n") end
  text = self.trim == false and text or trim(text)
  if not self.lines and text:find("[\r\n]") then return nil, "lines" end
  if has_control(text, self.lines) then return nil, "control" end
  local key, values = length_errors(self, text)
  if key then return nil, key, values end
  if self.pattern and not text:find(self.pattern) then return nil, "pattern" end
  return text
end

function parse.email(self, raw)
  local text = trim(raw)
  if has_control(text) then return nil, "control" end
  if utf8.len(text) > self.max then return nil, "too_long", { count = self.max } end
  local user, domain = text:match("^([^%s@]+)@([^%s@]+)$")
  if not user or #user > 64 or user:find('[",:;<>()%[%]\\]') or user:find("^%.")
    or user:find("%.$") or user:find("..", 1, true) then
    return nil, "email"
  end
  if not domain:find(".", 1, true) or domain:find("..", 1, true) or domain:find("^[.-]")
    or domain:find("[.-]$") or domain:find("[\1-\44/\58-\64\91-\96\123-\127]") then
    return nil, "email"
  end
  return user .. "@" .. domain:lower()
end

function parse.password(self, raw)
  if raw:find("\0", 1, true) then return nil, "control" end
  local key, values = length_errors(self, raw)
  if key then return nil, key, values end
  return raw
end

-- ---- numbers, choices, dates, files ------------------------------------------------------------

local function range_errors(self, value, show)
  if self.min and value < self.min then return "too_small", { min = show(self.min) } end
  if self.max and value > self.max then return "too_large", { max = show(self.max) } end
end

function parse.integer(self, raw)
  local text = trim(raw)
  if not text:find("^%d+$") or #text > 9 then return nil, "integer" end
  local value = math.tointeger(tonumber(text))
  local key, values = range_errors(self, value, tostring)
  if key then return nil, key, values end
  return value
end

function parse.credits(self, raw, req)
  local value = format.parse_credits(raw)
  if not value then return nil, "credits" end
  local key, values = range_errors(self, value, function(micro)
    return format.credits(micro, req.locale)
  end)
  if key then return nil, key, values end
  return value
end

local function options_of(self, req)
  local options = self.options
  if type(options) == "function" then options = options(req) end
  local known = {}
  for _, option in ipairs(options) do
    local value = option
    if type(option) == "table" then value = option.value end
    known[value] = true
  end
  return known
end

function parse.choice(self, raw, req)
  if not options_of(self, req)[raw] then return nil, "choice" end
  return raw
end

function parse.choices(self, list, req)
  local known, seen, values = options_of(self, req), {}, {}
  for _, raw in ipairs(list) do
    if not known[raw] then return nil, "choice" end
    if not seen[raw] then values[#values + 1] = raw end
    seen[raw] = true
  end
  if self.max and #values > self.max then return nil, "too_many", { max = self.max } end
  return values
end

function parse.checkbox() return true end

function parse.date(_, raw)
  if not trim(raw):find("^%d%d%d%d%-%d%d%-%d%d$") then return nil, "date" end
  -- A date that does not exist becomes another one on the way there and back.
  local seconds = format.seconds(trim(raw))
  if os.date("!%Y-%m-%d", seconds) ~= trim(raw) then return nil, "date" end
  return trim(raw)
end

function parse.file(self, file)
  if self.max and (file.size or 0) > self.max then
    return nil, "file_size", { max = format.bytes(self.max) }
  end
  if self.types then
    local found = false
    for _, kind in ipairs(self.types) do found = found or kind == file.type end
    if not found then return nil, "file_type" end
  end
  return file
end

parse.hidden = parse.text

-- ---- defining ----------------------------------------------------------------------------------

local limits = { text = 1000, hidden = 1000, email = 254, password = 128 }

for kind in pairs(parse) do
  form[kind] = function(options)
    local field = { kind = kind }
    for key, value in pairs(options or {}) do field[key] = value end
    if kind == "choice" or kind == "choices" then field.options = field.options or options end
    if limits[kind] then field.max = field.max or limits[kind] end
    return setmetatable(field, Field)
  end
end

--- define { { "name", field }, … } keeps that order; define { name = field } is sorted by name.
function form.define(fields)
  local list = {}
  if #fields > 0 then
    for i, item in ipairs(fields) do list[i] = { name = item[1], field = item[2] } end
  else
    for name, field in pairs(fields) do list[#list + 1] = { name = name, field = field } end
    table.sort(list, function(a, b) return a.name < b.name end)
  end
  local seen = {}
  for _, item in ipairs(list) do
    if type(item.name) ~= "string" or getmetatable(item.field) ~= Field then
      error("form.define wants { \"name\", form.text { … } }", 2)
    end
    if seen[item.name] then error(("the field '%s' stands twice"):format(item.name), 2) end
    seen[item.name] = true
  end
  return setmetatable({ fields = list }, Form)
end

-- ---- reading -----------------------------------------------------------------------------------

local secret = { password = true, file = true }

-- The field as it was sent: nil if it was not, or was empty. 400 for what no form can send.
local function raw_of(req, name, field, fields)
  local raw = fields[name]
  if raw == nil then return nil end
  if field.kind == "file" then
    if type(raw) ~= "table" or raw.filename == nil then return nil end
    return raw.filename ~= "" and raw or nil
  end
  local list = type(raw) == "table" and raw or { raw }
  if list.filename ~= nil then req:bad_request(("the field '%s' is no file"):format(name)) end
  if field.kind ~= "choices" and #list > 1 then
    req:bad_request(("the field '%s' came more than once"):format(name))
  end
  for _, text in ipairs(list) do
    if type(text) ~= "string" then
      if field.kind == "checkbox" and type(text) == "boolean" then return text or nil end
      if math.type(text) ~= "integer" then
        req:bad_request(("the field '%s' is no text"):format(name))
      end
      list = { tostring(text) } -- a number in JSON
    elseif not utf8.len(text) then
      req:bad_request(("the field '%s' is not valid UTF-8"):format(name))
    end
  end
  if field.kind == "choices" then return list end
  return list[1] ~= "" and list[1] or nil
end

local function message(req, item, key, values)
  local own = item.field.messages and item.field.messages[key]
  values = values or {}
  values.label = item.field.label or item.name
  if own then return i18n.has(own) and req.t(own, values) or own end
  if i18n.has(key) then return req.t(key, values) end
  local known = "form.error." .. key
  return i18n.has(known) and req.t(known, values) or key
end

--- Reads the form that was sent. Returns the values; or what was typed, to show again (without
-- passwords and files), and the errors: name → text, with `list` = { { name, text } … } in the order of
-- the form. A valid password can still be asked for by its name, but pairs() does not come across it.
function Form:read(req)
  local fields = req:fields()
  local values, typed, hidden = {}, {}, {}
  local errors, failed = { list = {} }, false
  local function fail(item, text)
    if errors[item.name] then return end
    errors[item.name], failed = text, true
    table.insert(errors.list, { name = item.name, text = text })
  end
  for _, item in ipairs(self.fields) do
    local name, field = item.name, item.field
    local raw = raw_of(req, name, field, fields)
    if not secret[field.kind] then
      typed[name] = raw or (field.kind == "text" and "") or nil
      if field.kind == "checkbox" then typed[name] = raw ~= nil end
    end
    if raw == nil or (field.kind == "text" and field.trim ~= false and trim(raw) == "") then
      local required = not field.optional and field.default == nil
      if field.kind == "checkbox" then
        values[name] = false
        if field.required then fail(item, message(req, item, "checkbox")) end
      elseif required then
        fail(item, message(req, item, field.kind == "file" and "file" or "required"))
      else
        values[name] = field.default
        if field.kind == "text" and values[name] == nil then values[name] = "" end
      end
    else
      local value, key, more = parse[field.kind](field, raw, req)
      if value == nil then
        fail(item, message(req, item, key, more))
      else
        values[name] = value
        if secret[field.kind] then hidden[name] = value end
      end
    end
  end
  -- The checks of a site see all values, and run for fields that are right so far.
  for _, item in ipairs(self.fields) do
    local check = item.field.check
    if check and not errors[item.name] and values[item.name] ~= nil
      and (values[item.name] ~= "" or not item.field.optional) then
      local key, more = check(values[item.name], values, req)
      if key then fail(item, message(req, item, key, more)) end
    end
  end
  if not failed then return values, nil end
  return setmetatable(typed, { __index = hidden }), errors
end

--- The form as an empty page shows it: { values, errors } with the defaults.
function Form:fresh(values)
  local shown = {}
  for _, item in ipairs(self.fields) do shown[item.name] = item.field.default end
  for name, value in pairs(values or {}) do shown[name] = value end
  return shown, { list = {} }
end

return form
