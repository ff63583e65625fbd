--- footlight new page|rule|migration NAME: a starting point that works, with its test.
--
-- The files are copies of tools/scaffold/ with names filled in. What exists already is never
-- overwritten: either all files are written or none.
local command = require "footlight.command"
local config = require "runtime.config"
local template = require "runtime.template"

local areas = { site = true, studio = true, admin = true }

local function exists(path)
  local file = io.open(config.root .. "/" .. path)
  if file then file:close() end
  return file ~= nil
end

local function fill(out, name, words)
  local text, reason = template.read(config.root .. "/tools/scaffold/" .. name)
  if not text then out:stop(command.FAILED, reason) end
  return (text:gsub("@(%u+)@", words))
end

local function write(out, path, text)
  local file, reason = io.open(config.root .. "/" .. path, "w")
  local ok = file
  if file then
    ok, reason = file:write(text)
    file:close()
  end
  if not ok then out:stop(command.FAILED, ("%s could not be written: %s"):format(path, reason)) end
end

local function check_name(out, name)
  if not name:find("^[a-z][a-z0-9_]*$") or #name > 40 then
    out:stop(command.USAGE, ("'%s' is no name: small letters, digits and _, a letter first"):format(name))
  end
end

local function words_for(name, area)
  local title = name:gsub("_", " "):gsub("^%l", string.upper)
  local path = (area and area ~= "site") and area .. "/" .. name or name
  return { NAME = name, AREA = area or "", PATH = (path:gsub("_", "-")), TITLE = title }
end

-- Writes { { path, scaffold } … } and tells; `notes` are what is left for people to do.
local function make(out, words, files, notes)
  for _, item in ipairs(files) do
    if exists(item[1]) then out:stop(command.FAILED, item[1] .. " is there already") end
  end
  local texts = {}
  for i, item in ipairs(files) do texts[i] = fill(out, item[2], words) end
  local made = {}
  for i, item in ipairs(files) do
    write(out, item[1], texts[i])
    made[i] = item[1]
  end
  local lines = {}
  for i, path in ipairs(made) do lines[i] = "made " .. path end
  for _, note in ipairs(notes) do lines[#lines + 1] = note end
  out:result({ files = made, notes = notes }, table.concat(lines, "\n"))
  return command.OK
end

-- Adds a line to a list in a Lua file: behind the last element of `list = { … }`. False where the
-- file does not look as expected; the one who asked does it by hand then.
local function add_to_list(out, path, pattern, line)
  local text = template.read(config.root .. "/" .. path)
  if not text then return false end
  local head, body, tail = text:match(pattern)
  if not head then return false end
  if body:find(line, 1, true) then return true end
  local multiline = body:find("\n%s*$")
  local added = multiline and body:gsub("%s*$", "") or body:gsub("%s+$", "")
  added = added:gsub(",$", "") .. "," .. (multiline and "\n    " or " ") .. line
    .. (multiline and ",\n  " or " ")
  write(out, path, head .. added .. tail)
  return true
end

local function new_page(options, out, name)
  check_name(out, name)
  local area = options.area or "site"
  if not areas[area] then out:stop(command.USAGE, "--area is site, studio or admin") end
  local words = words_for(name, area)
  local notes = {}
  local code = make(out, words, {
    { ("lua/%s/%s.lua"):format(area, name), "page.lua" },
    { ("templates/%s/%s.html"):format(area, name), "page.html" },
    { ("tests/site/%s_spec.lua"):format(name), "page_spec.lua" },
  }, notes)
  local module = ('"%s.%s"'):format(area, name)
  if add_to_list(out, "lua/site/init.lua", "^(.-pages%s*=%s*{)(.-)(}.*)$", module) then
    out:say("added " .. module .. " to lua/site/init.lua: the page is at /" .. words.PATH)
  else
    out:say("add " .. module .. " to the pages in lua/site/init.lua")
  end
  return code
end

local function new_rule(_, out, name)
  check_name(out, name)
  local code = make(out, words_for(name), {
    { ("lua/moderation/rules/%s.lua"):format(name), "rule.lua" },
    { ("tests/runtime/rule_%s_spec.lua"):format(name), "rule_spec.lua" },
  }, {})
  local quoted = ('"%s"'):format(name)
  if add_to_list(out, "lua/moderation/init.lua", "^(.-local order%s*=%s*{)(.-)(}.*)$", quoted) then
    out:say("added it as the last rule in lua/moderation/init.lua")
  else
    out:say("add " .. quoted .. " to the order in lua/moderation/init.lua")
  end
  return code
end

local function new_migration(_, out, name)
  check_name(out, name)
  local last = 0
  for _, file in ipairs(template.files(config.root .. "/migrations")) do
    last = math.max(last, math.tointeger(tonumber(file:match("^(%d+)_"))) or 0)
  end
  local path = ("migrations/%04d_%s.sql"):format(last + 1, name)
  return make(out, words_for(name), { { path, "migration.sql" } },
    { "footlight migrate runs it" })
end

return command.define {
  name = "new",
  summary = "a starting point for a page, a chat rule or a migration",
  commands = {
    { "page", summary = "a page with a form, its template and its test", arguments = { "NAME" },
      options = { { "--area AREA", "site (default), studio or admin" } }, run = new_page },
    { "rule", summary = "a rule that chat messages pass, and its test", arguments = { "NAME" },
      run = new_rule },
    { "migration", summary = "the next numbered migration", arguments = { "NAME" },
      run = new_migration },
  },
}
