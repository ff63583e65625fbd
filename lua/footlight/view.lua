--- Templates: the files under templates/, compiled when a generation is loaded.
--
--     local view = require "footlight.view"
--     local page = view.render("site/room", { room = room }, globals)
--
-- A rendered page is a buffer of runtime.template: the response sends it as it is, tostring() gives
-- a string. `globals` is what every template of a request may use (t, csrf_field, account …); it
-- inherits from view.globals, where the site puts what does not depend on the request.
-- docs/templates.md describes the language.
local compile = require "footlight.template.compile"
local template = require "runtime.template"

local view = {}

--- What templates see beside their variables.
view.globals = {
  ipairs = ipairs, pairs = pairs, tostring = tostring, tonumber = tonumber, type = type,
  select = select, math = math, string = string, table = table, os = { time = os.time },
  --- raw(text) prints markup as it is. The caller vouches for it.
  raw = template.safe,
}

local filters = {}        -- name → true, or "env"
local filter_functions = {}
local units = {}          -- name → compiled template
local source_of = nil     -- name → text, nil: how templates are read
local modes = { html = "html", xml = "html", txt = "plain" }
local DEPTH = 24          -- of includes and layouts

--- Adds the filter `name`, before any template is compiled: fn(value, ...). With `with_env` it is
-- fn(variables, value, ...), for filters that depend on the request (its language, its time zone).
function view.filter(name, fn, with_env)
  filters[name] = with_env and "env" or true
  filter_functions[name] = fn
end

view.filter("json", template.to_json)
view.filter("url", template.to_url)
view.filter("upper", function(value) return tostring(value or ""):upper() end)
view.filter("lower", function(value) return tostring(value or ""):lower() end)
view.filter("length", function(value) return value and #value or 0 end)
view.filter("join", function(list, separator)
  local parts = {}
  for i, value in ipairs(list or {}) do parts[i] = tostring(value) end
  return table.concat(parts, separator or ", ")
end)
view.filter("default", function(value, other)
  if value == nil or value == "" then return other end
  return value
end)
view.filter("truncate", function(value, length)
  local text = tostring(value or "")
  if (utf8.len(text) or #text) <= length then return text end
  local stop = utf8.offset(text, length) or length
  return text:sub(1, stop - 1) .. "…"
end)

-- ---- what compiled templates call --------------------------------------------------------------

local runtime = {}

local function by_text(a, b)
  if type(a) == type(b) and type(a) == "number" then return a < b end
  return tostring(a) < tostring(b)
end

--- The list that a `for` runs over, and the keys if it wants two names. Tables are lists; an
-- iterator, as pairs(map) makes one, is read to its end first and, if there are keys, sorted by them:
-- a page looks the same each time.
function runtime.sequence(wanted, list, state, control)
  if list == nil then return {} end
  if type(list) == "table" then return list end
  if type(list) ~= "function" then
    error(("for cannot run over a %s"):format(type(list)), 2)
  end
  local keys, values = {}, {}
  for key, value in list, state, control do
    if #keys >= 100000 then error("for: the list does not end", 2) end
    keys[#keys + 1] = key
    values[key] = value
  end
  if wanted == 1 then return keys end
  table.sort(keys, by_text)
  local sorted = {}
  for i, key in ipairs(keys) do sorted[i] = values[key] end
  return sorted, keys
end

function runtime.loop(index, length)
  return { index = index, length = length, first = index == 1, last = index == length }
end

local function unit_of(name)
  return units[name] or error(("there is no template '%s'"):format(name), 3)
end

-- One of these lives as long as one render.
local Render = {}
Render.__index = Render

function Render:block(name, out, env)
  self.chain[name][1](out, env, self, 1) -- no tail call: traces shall show the layout
end

function Render:super(name, level, env)
  local below = self.chain[name][level + 1]
  if not below then error(("the block '%s' has no super()"):format(name), 3) end
  local out = template.buffer()
  below(out, env, self, level + 1)
  return out
end

-- A table of this render's own, made when it is first needed: most pages need none of the three.
local function own_table(self, name)
  local made = rawget(self, name)
  if not made then
    made = {}
    self[name] = made
  end
  return made
end

local function inherit(self, env, with)
  local metas = own_table(self, "metas")
  local meta = metas[env]
  if not meta then
    meta = { __index = env }
    metas[env] = meta
  end
  local own = {}
  if with then
    for key, value in pairs(with) do own[key] = value end
  end
  return setmetatable(own, meta)
end

local function run(self, unit, out, env)
  local outer = self.chain
  self.depth = self.depth + 1
  if self.depth > DEPTH then error(("templates include each other: %s"):format(unit.name), 0) end
  self.chain = unit.chain
  for _, each in ipairs(unit.line) do each.body(out, env, self) end
  self.chain = outer
  self.depth = self.depth - 1
end

function Render:include(out, env, name, with)
  if with ~= nil and type(with) ~= "table" then error("include: with wants a table", 2) end
  run(self, unit_of(name), out, inherit(self, env, with))
end

--- The macro, bound to this render's globals. It may call itself: what it gets of itself while it is
-- being made is a function that finds it later.
function Render:macro(name, macro)
  local key = name .. ":" .. macro
  local macros = own_table(self, "macros")
  local found = macros[key]
  if found then return found end
  local made
  macros[key] = function(...) return made(...) end
  local maker = unit_of(name).macros[macro]
  if not maker then error(("'%s' has no macro '%s'"):format(name, macro), 3) end
  made = maker(self.macro_env, self)
  macros[key] = made
  return made
end

function Render:import(name)
  local imports = own_table(self, "imports")
  local found = imports[name]
  if found then return found end
  unit_of(name)
  found = setmetatable({}, {
    __index = function(own, macro)
      local made = self:macro(name, macro)
      own[macro] = made
      return made
    end,
  })
  imports[name] = found
  return found
end

-- ---- loading -----------------------------------------------------------------------------------

-- "site/room" is templates/site/room.html; another ending is written out: "mail/welcome.txt".
local function file_of(name)
  local ending = name:match("%.(%a+)$")
  if ending and modes[ending] then return name, modes[ending] end
  return name .. ".html", "html"
end

local function compile_unit(name, stack)
  local known = units[name]
  if known then return known end
  local file, mode = file_of(name)
  local path = "templates/" .. file
  if not name:find("^[%w_%-/.]+$") or name:find("..", 1, true) then
    error(("'%s' is not the name of a template"):format(name), 0)
  end
  local source, reason = source_of(file)
  if not source then error(("%s: %s"):format(path, reason or "there is no such template"), 0) end
  if not utf8.len(source) then error(("%s: not valid UTF-8"):format(path), 0) end
  if stack[name] then error(("%s: it extends itself"):format(path), 0) end
  stack[name] = true
  local unit = compile.template(source, {
    name = name, file = path, mode = mode, writers = template, filters = filters,
    functions = filter_functions, runtime = runtime,
    parent_of = function(parent, line)
      local ok, result = pcall(compile_unit, parent, stack)
      if ok then return result end
      local text = tostring(result)
      if text:find("^templates/[^:]+:%d+: ") then error(text, 0) end
      error(("%s:%d: %s"):format(path, line, text), 0)
    end,
  })
  stack[name] = nil
  -- The line of layouts from this one to the outermost, and for each block its versions in order.
  unit.line, unit.chain = { unit }, {}
  local parent = unit.extends and units[unit.extends]
  for block, fn in pairs(unit.blocks) do unit.chain[block] = { fn } end
  if parent then
    for _, each in ipairs(parent.line) do unit.line[#unit.line + 1] = each end
    for block, versions in pairs(parent.chain) do
      local own = unit.chain[block] or {}
      for _, fn in ipairs(versions) do own[#own + 1] = fn end
      unit.chain[block] = own
    end
  end
  if #unit.line > DEPTH then error(("%s: too many layouts"):format(path), 0) end
  units[name] = unit
  return unit
end

local function name_of(file)
  return (file:gsub("%.html$", ""))
end

--- Compiles every template. `from` is a folder (default: templates/ of the running site), or a table
-- of file → text for tests. Returns the number of templates, or nil and a list of "file:line: …".
-- What was loaded before stays in use if anything is wrong.
function view.load(from)
  local before, reader = units, source_of
  local files
  if type(from) == "table" then
    files = {}
    for file in pairs(from) do files[#files + 1] = file end
    source_of = function(file) return from[file] end
  else
    local folder = from or (template.root() .. "/templates")
    files = template.files(folder)
    source_of = function(file) return template.read(folder .. "/" .. file) end
  end
  table.sort(files)
  units = {}
  local errors, count = {}, 0
  for _, file in ipairs(files) do
    if modes[file:match("%.(%a+)$") or ""] then
      local ok, message = pcall(compile_unit, name_of(file), {})
      count = count + 1
      if not ok then errors[#errors + 1] = tostring(message) end
    end
  end
  for _, unit in pairs(units) do
    for _, reference in ipairs(unit.references) do
      if not units[reference.name] and source_of(file_of(reference.name)) == nil then
        errors[#errors + 1] = ("%s:%d: there is no template '%s'"):format(
          unit.file, reference.line, reference.name)
      end
    end
  end
  if #errors == 0 then return count end
  units, source_of = before, reader
  table.sort(errors)
  local unique = {}
  for _, message in ipairs(errors) do
    if unique[#unique] ~= message then unique[#unique + 1] = message end
  end
  return nil, unique
end

--- For the reload of a generation: raises with all errors if any template does not compile.
function view.check()
  local count, errors = view.load()
  if not count then error(table.concat(errors, "\n"), 0) end
  return count
end

-- A web service loads its templates as a part of each generation. Commands and tests, which may never
-- need one, do it when they come to the first.
local function ready()
  if not source_of then view.check() end
end

function view.exists(name)
  ready()
  return units[name] ~= nil
end

--- name → { file, extends, references }, for `footlight check`.
function view.list()
  local list = {}
  for name, unit in pairs(units) do
    list[name] = { file = unit.file, extends = unit.extends, references = unit.references }
  end
  return list
end

-- ---- rendering ---------------------------------------------------------------------------------

--- Renders to a new buffer. The second result are the variables as the template left them: what it
-- `set` at its top is there (mail.lua reads the subject so).
function view.render(name, variables, globals)
  ready()
  local unit = units[name] or error(("there is no template '%s'"):format(name), 2)
  globals = globals or view.globals
  local env = {}
  if variables then
    for key, value in pairs(variables) do env[key] = value end
  end
  setmetatable(env, { __index = globals })
  local out = template.buffer(unit.size) -- as large as it was the last time
  -- Macros see the globals and nothing of the page; `set` in them stays in them.
  local self = setmetatable({ depth = 0, macro_env = globals }, Render)
  run(self, unit, out, env)
  unit.size = #out
  return out, env
end

return view
