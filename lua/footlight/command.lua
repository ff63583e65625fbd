--- Commands: `footlight NAME …` runs lua/commands/NAME.lua, which returns what command.define makes.
--
--   return command.define {
--     name = "account", summary = "make and show accounts",
--     commands = {
--       { "create", summary = "…", arguments = { "NAME" },
--         options = { { "--email ADDRESS", "where mail goes" }, { "--active", "no activation" } },
--         run = function(options, out, name) … return 0 end },
--     },
--   }
--
-- Without `commands` the definition itself holds arguments, options and run. An argument in brackets,
-- "[AMOUNT]", may be missing. An option that names a value takes it as `--email x` or `--email=x`;
-- options.email is then the text, of a switch it is true, and nil when it was not given.
-- Everything understands --help and --json. Exit codes: 0 ok, 1 refused or failed, 2 wrong usage,
-- 3 not found, 4 something that is needed does not answer.
local json = require "runtime.json"

local command = { OK = 0, FAILED = 1, USAGE = 2, NOT_FOUND = 3, UNAVAILABLE = 4 }

local Out = {}
Out.__index = Out

--- What the command found out: as JSON when that was asked for, else the text.
function Out:result(values, text)
  if self.json then
    self.stdout:write(json.encode(values), "\n")
  elseif text and text ~= "" then
    self.stdout:write((text:gsub("\n*$", "")), "\n")
  end
end

--- More lines for people only.
function Out:say(text)
  if not self.json then self.stdout:write(text, "\n") end
end

--- One sentence about what went wrong, on standard error; returns the exit code.
function Out:fail(code, message)
  self.stderr:write("footlight ", self.name, ": ", message, "\n")
  return code
end

--- Raises what fail() would return, from anywhere below the command's run.
function Out:stop(code, message) error({ command_exit = code, message = message }, 0) end

local function words_of(option) return option[1]:match("^%-%-([%w-]+)%s*(.*)$") end

local function key_of(name) return (name:gsub("-", "_")) end

local function usage_of(name, spec)
  local words = { "footlight", name }
  for _, argument in ipairs(spec.arguments or {}) do words[#words + 1] = argument end
  for _, option in ipairs(spec.options or {}) do
    words[#words + 1] = "[" .. option[1] .. "]"
  end
  words[#words + 1] = "[--json]"
  return table.concat(words, " ")
end

local function help_of(name, spec)
  local lines = { "usage: " .. usage_of(name, spec) }
  if spec.summary then lines[#lines + 1] = "\n" .. spec.summary end
  local options = {}
  for _, option in ipairs(spec.options or {}) do options[#options + 1] = option end
  options[#options + 1] = { "--json", "one JSON value in place of text" }
  options[#options + 1] = { "--help", "this text" }
  lines[#lines + 1] = ""
  for _, option in ipairs(options) do
    lines[#lines + 1] = ("  %-28s %s"):format(option[1], option[2] or "")
  end
  return table.concat(lines, "\n")
end

local function overview_of(definition)
  local lines = {}
  for _, spec in ipairs(definition.commands) do
    local name = definition.name .. " " .. spec[1]
    lines[#lines + 1] = (#lines == 0 and "usage: " or "       ") .. usage_of(name, spec)
    lines[#lines + 1] = ("         %s"):format(spec.summary or "")
  end
  return table.concat(lines, "\n")
end

-- Sorts the words into options and arguments. nil and a sentence if they do not fit the definition.
local function read_words(spec, words)
  local takes_value, options, values = {}, {}, {}
  for _, option in ipairs(spec.options or {}) do
    local name, value = words_of(option)
    takes_value[name] = value ~= ""
  end
  takes_value.json, takes_value.help = false, false
  local i, only_arguments = 1, false
  while i <= #words do
    local word = words[i]
    local name, value = word:match("^%-%-([%w-]+)(.*)$")
    if word == "--" and not only_arguments then
      only_arguments = true
    elseif not only_arguments and word:sub(1, 2) == "--" then
      if not name or takes_value[name] == nil or (value ~= "" and value:sub(1, 1) ~= "=") then
        return nil, ("there is no option %s"):format(word)
      end
      if not takes_value[name] then
        if value ~= "" then return nil, ("--%s takes no value"):format(name) end
        options[key_of(name)] = true
      elseif value ~= "" then
        options[key_of(name)] = value:sub(2)
      else
        i = i + 1
        if not words[i] then return nil, ("--%s needs a value"):format(name) end
        options[key_of(name)] = words[i]
      end
    else
      values[#values + 1] = word
    end
    i = i + 1
  end
  if options.help then return options, values end
  local arguments = spec.arguments or {}
  for at, argument in ipairs(arguments) do
    if not values[at] and argument:sub(1, 1) ~= "[" then
      return nil, ("%s is missing"):format(argument)
    end
  end
  if #values > #arguments and not spec.rest then
    return nil, ("'%s' is one word too many"):format(values[#arguments + 1])
  end
  return options, values
end

-- What an error means for the one who typed the command.
local function explain(out, reason, traceback)
  if type(reason) == "table" and reason.command_exit then
    return out:fail(reason.command_exit, reason.message)
  end
  if type(reason) == "table" and (reason.kind == "unavailable" or reason.kind == "busy") then
    return out:fail(command.UNAVAILABLE, "MariaDB does not answer: " .. reason.message)
  end
  local text = tostring(reason)
  if text:find("UNAVAILABLE", 1, true) then return out:fail(command.UNAVAILABLE, text) end
  return out:fail(command.FAILED, type(reason) == "table" and text or traceback)
end

local function run_spec(name, spec, words, streams)
  local options, values = read_words(spec, words)
  local out = setmetatable({ name = name, json = false, stdout = streams.stdout, stderr = streams.stderr }, Out)
  if not options then
    out.stderr:write("footlight ", name, ": ", values, "\nusage: ", usage_of(name, spec), "\n")
    return command.USAGE
  end
  if options.help then
    out.stdout:write(help_of(name, spec), "\n")
    return command.OK
  end
  out.json = options.json or false
  local traceback
  local ok, code = xpcall(spec.run, function(reason)
    traceback = debug.traceback(tostring(reason), 2)
    return reason
  end, options, out, table.unpack(values, 1, math.max(#values, #(spec.arguments or {}))))
  if not ok then return explain(out, code, traceback) end
  return code or command.OK
end

local function choose(definition, words, streams)
  local first = words[1]
  if first == nil or first == "--help" then
    local stream = first and streams.stdout or streams.stderr
    stream:write(overview_of(definition), "\n")
    return first and command.OK or command.USAGE
  end
  for _, spec in ipairs(definition.commands) do
    if spec[1] == first then
      return run_spec(definition.name .. " " .. first, spec, { table.unpack(words, 2) }, streams)
    end
  end
  streams.stderr:write("footlight ", definition.name, ": there is no '", first, "'\n",
    overview_of(definition), "\n")
  return command.USAGE
end

--- Makes the module of a command: { name, summary, usage, run(words [, streams]) → exit code }. Tests
-- give streams of their own: { stdout =, stderr = }, each with a method write.
function command.define(definition)
  assert(type(definition.name) == "string", "a command has a name")
  local module = { name = definition.name, summary = definition.summary or "" }
  if definition.commands then
    module.usage = overview_of(definition)
    function module.run(words, streams) return choose(definition, words or {}, streams or io) end
  else
    module.usage = "usage: " .. usage_of(definition.name, definition)
    function module.run(words, streams)
      return run_spec(definition.name, definition, words or {}, streams or io)
    end
  end
  return module
end

--- "12.5" → 12500000 micro-credits; nil if the text is no amount with at most six decimals. Digits
-- only, no arithmetic in floats.
function command.credits(text)
  local whole, point, decimals = tostring(text):match("^(%d+)(%.?)(%d*)$")
  if not whole or #whole > 9 or #decimals > 6 or (point ~= "") ~= (decimals ~= "") then return nil end
  return math.tointeger(tonumber(whole)) * 1000000
    + math.tointeger(tonumber(decimals .. ("0"):rep(6 - #decimals)))
end

--- 12500000 → "12.5"
function command.show_credits(amount)
  local sign = amount < 0 and "-" or ""
  if amount < 0 then amount = -amount end
  local decimals = (("%06d"):format(amount % 1000000):gsub("0+$", ""))
  return sign .. tostring(amount // 1000000) .. (decimals ~= "" and "." .. decimals or "")
end

return command
