--- What can be found wrong with a site without running it: `footlight check`.
--
-- Every finding is { path, line, text, warning }. Errors are what would break a page: code or templates
-- that do not compile, templates and messages that do not exist. Warnings are what nobody uses.
local i18n = require "footlight.i18n"
local template = require "runtime.template"
local view = require "footlight.view"

local check = {}

local function line_of(text, position)
  return select(2, text:sub(1, position):gsub("\n", "")) + 1
end

local function sources(root, folder, ending)
  local list = {}
  for _, name in ipairs(template.files(root .. "/" .. folder)) do
    if name:sub(-#ending) == ending then
      local path = folder .. "/" .. name
      list[#list + 1] = { path = path, name = name, text = template.read(root .. "/" .. path) or "" }
    end
  end
  table.sort(list, function(a, b) return a.path < b.path end)
  return list
end

local function split_message(message)
  local path, line, text = message:match("^([^:\n]+):(%d+): (.*)$")
  return path, tonumber(line), text
end

--- Lua that does not compile.
function check.lua(found, files)
  for _, file in ipairs(files) do
    local ok, message = load(file.text, "@" .. file.path, "t", {})
    if not ok then
      local path, line, text = split_message(message)
      found(path or file.path, line or 1, text or message)
    end
  end
end

--- Templates that do not compile. True if all do.
function check.templates(found)
  local count, errors = view.load()
  for _, message in ipairs(errors or {}) do
    local path, line, text = split_message(message)
    found(path or "templates", line or 1, text or message)
  end
  return count ~= nil
end

-- Calls visit(argument, line) for every literal first argument of a call by that pattern.
local function literals(text, pattern, visit)
  for position, quote, word in text:gmatch("()" .. pattern .. "%s*%(?%s*([\"'])([%w_./%-]+)%2") do
    if quote then visit(word, line_of(text, position)) end
  end
end

--- Templates that Lua names and that do not exist, and those that nothing names.
function check.template_names(found, files, entries)
  local known, used = view.list(), {}
  for _, name in ipairs(entries) do used[name] = true end
  local function uses(name, path, line)
    used[name] = true
    if not known[name] then found(path, line, ("there is no template '%s'"):format(name)) end
  end
  for _, file in ipairs(files) do
    for _, pattern in ipairs { ":render", "view%.render" } do
      for position, name in file.text:gmatch("()" .. pattern .. "%s*%(%s*[\"']([%w_./%-]+)[\"']") do
        uses(name, file.path, line_of(file.text, position))
      end
    end
    -- Any other literal that is the name of a template may be one: page(req, "site/login").
    for name in file.text:gmatch("[\"']([%w_%-]+/[%w_./%-]+)[\"']") do
      if known[name] then used[name] = true end
    end
    for position, name in file.text:gmatch("()template%s*=%s*[\"'](mail/[%w_%-]+)[\"']") do
      uses(name .. ".txt", file.path, line_of(file.text, position))
      used[name] = true
    end
  end
  -- What a used template needs is used.
  local function follow(name)
    for _, reference in ipairs(known[name] and known[name].references or {}) do
      if not used[reference.name] then
        used[reference.name] = true
        follow(reference.name)
      end
    end
  end
  for name in pairs(known) do
    if used[name] then follow(name) end
  end
  for name, unit in pairs(known) do
    if not used[name] then found(unit.file, 1, "nothing uses this template", true) end
  end
end

-- Keys that the code builds (t("room." .. state)) show only their beginning.
local function keys_of(text)
  local keys, beginnings = {}, {}
  for position, key, rest in text:gmatch("()%f[%w_]t%s*%(%s*[\"']([%w_.]+)[\"']%s*([^%s]?)") do
    if rest == "." then
      beginnings[#beginnings + 1] = key
    else
      keys[#keys + 1] = { key = key, line = line_of(text, position) }
    end
  end
  return keys, beginnings
end

--- Messages that are asked for and missing, that a language lacks, and that nobody asks for.
function check.messages(found, files, catalogue_path)
  i18n.load()
  local default = i18n.catalogue(i18n.default)
  local used, beginnings = {}, {}
  for _, file in ipairs(files) do
    local keys, starts = keys_of(file.text)
    for _, item in ipairs(keys) do
      used[item.key] = true
      if default[item.key] == nil and item.key:find(".", 1, true) then
        found(file.path, item.line, ("the catalogue has no message '%s'"):format(item.key))
      end
    end
    for _, start in ipairs(starts) do beginnings[#beginnings + 1] = start end
    -- Keys also travel as plain strings: error texts of forms, labels in tables.
    for word in file.text:gmatch("[\"']([%a][%w_]*%.[%w_.]+)[\"']") do used[word] = true end
  end
  for _, language in ipairs(i18n.languages()) do
    local messages = i18n.catalogue(language)
    if language ~= i18n.default then
      for key in pairs(default) do
        if messages[key] == nil and not key:find("^format%.") then
          found(catalogue_path(language), 1, ("the message '%s' is missing"):format(key), true)
        end
      end
      for key in pairs(messages) do
        if default[key] == nil then
          found(catalogue_path(language), 1, ("'%s' is no message of the default language"):format(key))
        end
      end
    end
  end
  for key in pairs(default) do
    local known = used[key] or key:find("^form%.error%.") or key:find("^error%.")
      or key:find("^format%.") or key:find("^ago%.")
    for _, start in ipairs(beginnings) do known = known or key:sub(1, #start) == start end
    if not known then
      found(catalogue_path(i18n.default), 1, ("nobody asks for '%s'"):format(key), true)
    end
  end
end

--- Names of routes that are asked for and do not exist.
function check.route_names(found, files, router)
  local names = {}
  for _, route in ipairs(router:routes()) do
    if route.name then names[route.name] = true end
  end
  for _, file in ipairs(files) do
    literals(file.text, "url_for", function(name, line)
      if not names[name] then found(file.path, line, ("no route is named '%s'"):format(name)) end
    end)
  end
end

-- "/r/:slug/tip" as it may stand in a text: "/r/" .. slug .. "/tip", /r/{{ room.slug }}/tip.
local function as_pattern(path)
  local pattern = path:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("[:*][%w_]+", "\0")
  return (pattern:gsub("%z$", ""):gsub("%z", "[^\n]-"))
end

local defining = { get = true, post = true, put = true, patch = true, delete = true, websocket = true }

--- Routes to which no page, script or redirect leads. What others call (csrf = false, /robots.txt) is left out.
function check.unused_routes(found, files, router)
  local texts = {}
  for i, file in ipairs(files) do -- a definition does not lead to itself
    texts[i] = file.text:gsub("[:.](%l+)%s*%(%s*([\"'])/[^\"'\n]*%2", function(word) return defining[word] and "" end)
  end
  local function leads(pattern)
    for _, text in ipairs(texts) do
      if text:find(pattern) then return true end
    end
    return false
  end
  for _, route in ipairs(router:routes()) do
    local named = route.name and leads("[\"']" .. route.name:gsub("%p", "%%%0") .. "[\"']")
    local for_others = route.path == "/" or route.options.csrf == false or route.path:find("^/[^/]+%.%l+$")
      or route.path:find("^/%.well%-known/")
    if not for_others and not named and not leads(as_pattern(route.path)) then
      local path, line = (route.source or ""):match("^(.-):(%d+)$")
      found(path or "lua/site", tonumber(line) or 1, ("nothing leads to %s %s"):format(route.method, route.path), true)
    end
  end
end

--- All of it: a sorted list of findings. `app` is the application of the site, nil if it did not load.
function check.site(root, app)
  local list = {}
  local function found(path, line, text, warning)
    list[#list + 1] = { path = path, line = line, text = text, warning = warning or false }
  end
  local lua = sources(root, "lua", ".lua")
  local html = sources(root, "templates", ".html")
  for _, file in ipairs(sources(root, "templates", ".txt")) do html[#html + 1] = file end
  check.lua(found, lua)
  if check.templates(found) then
    check.template_names(found, lua, { "errors/page", "footlight/error", "footlight/csrf", "footlight/reload" })
  end
  local all = {}
  for _, file in ipairs(lua) do
    if not file.path:find("/locales/") and not file.path:find("^lua/types/") then
      all[#all + 1] = file
    end
  end
  for _, file in ipairs(html) do all[#all + 1] = file end
  check.messages(found, all, function(language) return "lua/site/locales/" .. language .. ".lua" end)
  if app then
    check.route_names(found, all, app.router)
    for _, file in ipairs(sources(root, "public", "js")) do all[#all + 1] = file end -- .js and .mjs
    for _, file in ipairs(sources(root, "conf", ".conf")) do all[#all + 1] = file end
    check.unused_routes(found, all, app.router)
  end
  table.sort(list, function(a, b)
    if a.path ~= b.path then return a.path < b.path end
    if a.line ~= b.line then return a.line < b.line end
    return a.text < b.text
  end)
  return list
end

return check
