--- The service's side of `footlight console`: runs a line of Lua in the process and describes what
-- came of it. server/console.c calls answer() in a coroutine with limits, so a line may wait.
local config = require "runtime.config"
local inspect = require "footlight.inspect"
local json = require "runtime.json"
local log = require "runtime.log"

local console = {}

local OUTPUT_MOST = 64 * 1024

-- What a client has set, by its number. A reload begins anew: it is another Lua state.
local sessions = {}

local function module_of(name)
  if type(name) ~= "string" then return nil end
  if package.preload["runtime." .. name] then return require("runtime." .. name) end
  return package.loaded["footlight." .. name]
end

local stores = setmetatable({}, { __index = function(_, name)
  local found, module = pcall(require, "store." .. tostring(name))
  return found and module or nil
end })

-- Globals of a line: its own first, then Lua's, `store.<name>`, and the modules by their last name.
local function new_environment()
  local own = {}
  return setmetatable(own, { __index = function(_, name)
    local value = rawget(_G, name)
    if value ~= nil then return value end
    if name == "store" then return stores end
    return module_of(name)
  end })
end

local function compile(source, environment)
  local chunk = load("return " .. source, "=console", "t", environment)
  if chunk then return chunk end
  local problem
  chunk, problem = load(source, "=console", "t", environment)
  return chunk, problem
end

-- print() of the line goes to its client; what is past the limit is counted only.
local function printer(output)
  return function(...)
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    local line = table.concat(words, "\t", 1, words.n) .. "\n"
    output.size = output.size + #line
    if output.size <= OUTPUT_MOST then output[#output + 1] = line end
  end
end

local function trace_of(problem)
  local lines = {}
  for line in debug.traceback("", 2):gmatch("[^\n]+") do
    if line:find("footlight/console%.lua") then break end
    if not line:find("^stack traceback") and not line:find("%[C%]: in ") then lines[#lines + 1] = line end
  end
  local text = type(problem) == "string" and problem or inspect.value(problem)
  return text .. (lines[1] and "\n" .. table.concat(lines, "\n") or "")
end

local function describe(results)
  local texts = {}
  for i = 2, results.n do texts[#texts + 1] = inspect.value(results[i]) end
  return texts
end

--- Runs the source for a client. → { values = { text, … }, output = text } or { error = text } or
-- { incomplete = true } when it is the beginning of something.
function console.evaluate(number, source)
  local environment = sessions[number] or new_environment()
  sessions[number] = environment
  local chunk, problem = compile(source, environment)
  if not chunk then
    if problem:find("near <eof>$") then return { incomplete = true } end
    return { error = problem }
  end
  log.info("console.line", { session = number, source = source:sub(1, 2000) })
  local output = { size = 0 }
  environment.print = printer(output)
  local results = table.pack(xpcall(chunk, trace_of))
  local answer = { output = table.concat(output) }
  if output.size > OUTPUT_MOST then
    answer.output = answer.output .. ("… (%d bytes printed in all)\n"):format(output.size)
  end
  if results[1] then
    answer.values = describe(results)
    environment._ = results[2]
  else
    answer.error = results[2]
  end
  return answer
end

--- One line of a client, one line for it.
function console.answer(number, line)
  local question = json.decode(line)
  if type(question) ~= "table" or type(question.source) ~= "string" then
    return json.encode { error = 'a question is {"source":"…"}' }
  end
  local answer = console.evaluate(number, question.source)
  answer.service = config.service
  answer.values = answer.values and table.concat(answer.values, "\n")
  return json.encode(answer)
end

--- The client has left.
function console.forget(number) sessions[number] = nil end

return console
