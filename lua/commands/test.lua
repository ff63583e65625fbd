--- footlight test: busted inside the runtime.
local json = require "runtime.json"
local task = require "runtime.task"

local test = {
  summary = "run specs inside the runtime",
  usage = [=[
footlight test [PATH …] [--filter PATTERN] [--list] [--json] [--seed N] [--limit SECONDS]
               [--jobs N [--shared]]

  PATH             files or folders of *_spec.lua (tests/)
  --filter PATTERN only tests whose full name matches the Lua pattern
  --list           print the names, run nothing
  --json           one line of JSON for each result
  --seed N         shuffle files and tests
  --limit SECONDS  how long one test may take (30)
  --jobs N         N files at once, each job with a database and Redis servers of its own;
                   with --shared, all with those of this site]=],
}

local function parse(arguments)
  local options, paths, i = {}, {}, 1
  local function value(name)
    i = i + 1
    return arguments[i] or error({ usage = name .. " needs a value" }, 0)
  end
  while arguments[i] do
    local word = arguments[i]
    if word == "--filter" then options.filter = value(word)
    elseif word == "--list" then options.list = true
    elseif word == "--json" then options.json = true
    elseif word == "--shared" then options.shared = true
    elseif word == "--help" or word == "-h" then options.help = true
    elseif word == "--seed" or word == "--limit" or word == "--jobs" then
      options[word:sub(3)] = math.tointeger(tonumber(value(word))) or error({ usage = word .. " takes a number" }, 0)
    elseif word:sub(1, 1) == "-" then error({ usage = "there is no option " .. word }, 0)
    else paths[#paths + 1] = word end
    i = i + 1
  end
  if options.jobs and (options.jobs < 1 or options.jobs > 64) then error({ usage = "--jobs takes 1 to 64" }, 0) end
  return options, paths[1] and paths or { "tests" }
end

local function indent(text) return "    " .. text:gsub("\n", "\n    ") end

local function print_failure(result)
  local line = result.line and ":" .. result.line or ""
  print(("\n  %s: %s\n  %s%s"):format(result.status, result.name, result.file, line))
  if result.message then print(indent(result.message)) end
  local trace = result.trace and result.trace:gsub("^%s*stack traceback:", "")
    :gsub("\n[^\n]*/busted/[^\n]*", ""):gsub("\n[^\n]*%[C%][^\n]*", ""):gsub("\n[^\n]*testing/runner%.lua[^\n]*", "")
  if trace and trace:find("%S") then print(indent(trace:gsub("^\n", ""))) end
end

-- The specs below the paths, in order; nil and the reason when there are none.
local function find_specs(paths)
  local dir, path = require "pl.dir", require "pl.path"
  local files = {}
  for _, place in ipairs(paths) do
    local found = {}
    if path.isfile(place) then
      found = { place }
    elseif path.isdir(place) then
      for _, name in ipairs(dir.getallfiles(place)) do
        if name:find("_spec%.lua$") and not name:find("/%.") then found[#found + 1] = name end
      end
      table.sort(found)
    else
      return nil, ("there is no file or folder '%s'"):format(place)
    end
    table.move(found, 1, #found, #files + 1, files)
  end
  if not files[1] then return nil, "there are no *_spec.lua below " .. table.concat(paths, ", ") end
  return files
end

local function reporter(options)
  local file, passed, began = nil, 0, 0
  local function print_file(name, count, milliseconds)
    if options.json or options.list then return end
    print(("%-48s %4d passed %7.1f s"):format(name, count, milliseconds / 1000))
    io.stdout:flush()
  end
  local function end_file()
    if file then print_file(file, passed, task.monotonic_ms() - began) end
  end
  function options.on_file(name)
    end_file()
    file, passed, began = name, 0, task.monotonic_ms()
  end
  function options.on_result(result, kind)
    if kind == "passed" then passed = passed + 1 end
    if options.list and kind ~= "failed" then
      print(("%s:%s: %s"):format(result.file, result.line or "?", result.name))
    elseif options.json then
      print(json.encode(result))
    elseif kind == "failed" then
      print_failure(result)
    end
    io.stdout:flush()
  end
  options.on_file_end = print_file
  return end_file
end

function test.run(arguments)
  local ok, options, paths = pcall(parse, arguments)
  if not ok then
    if type(options) ~= "table" then error(options, 0) end
    io.stderr:write("footlight test: ", options.usage, "\n", test.usage, "\n")
    return 2
  end
  if options.help then
    print(test.usage)
    return 0
  end
  local files, reason = find_specs(paths)
  if not files then
    io.stderr:write("footlight test: ", reason, "\n")
    print("0 passed, 1 failed, 0 skipped")
    return 1
  end
  local end_file = reporter(options)
  local counts
  if options.jobs and not options.list then
    counts = require("footlight.testing.parallel").run(files, options.jobs, options)
  else
    counts = require("footlight.testing.runner").run(files, options)
    end_file()
  end
  if options.list then return counts.failed > 0 and 1 or 0 end
  print(("%d passed, %d failed, %d skipped"):format(counts.passed, counts.failed, counts.skipped))
  return counts.failed > 0 and 1 or 0
end

--- The site itself, for footlight.testing.client.
function test.on_request(req) return require("site").on_request(req) end
function test.on_websocket(socket) return require("site").on_websocket(socket) end

return test
