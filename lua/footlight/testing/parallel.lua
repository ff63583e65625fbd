--- Spec files in several child processes at once, each with stores of its own (environment.lua), or all
-- with ours.
local config = require "runtime.config"
local environment = require "footlight.testing.environment"
local json = require "runtime.json"
local process = require "runtime.process"
local inside = require "runtime.testing"
local task = require "runtime.task"

local parallel = {}

-- The stores and the site that we run beside, in the form of an environment's place.
local shared = setmetatable({}, { __close = function() end })
function shared.words(_, ...)
  return { inside.program(), "--root", config.root, "--site", environment.site(), ... }
end

local FILE_SECONDS = 3600

local function words_of(place, file, options)
  local words = place:words("test", file, "--json")
  for _, name in ipairs { "filter", "seed", "limit" } do
    if options[name] then
      words[#words + 1] = "--" .. name
      words[#words + 1] = tostring(options[name])
    end
  end
  words.limit = FILE_SECONDS
  return words
end

-- "… the last lines"
local function tail(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return table.concat(lines, "\n", math.max(1, #lines - 19))
end

local function kind_of(status)
  return status == "success" and "passed" or status == "pending" and "skipped" or "failed"
end

-- What a child has said: its results, and one more if it did not come to its end.
local function results_of(file, outcome)
  local results, ended = {}, false
  for line in outcome.output:gmatch("[^\n]+") do
    local result = line:sub(1, 1) == "{" and json.decode(line)
    if type(result) == "table" and result.status then results[#results + 1] = result end
    ended = line:find("^%d+ passed, %d+ failed, %d+ skipped$") ~= nil
  end
  if not ended then
    results[#results + 1] = { name = "(file)", file = file, status = "error",
      message = ("its process ended with status %d and without a count\n%s"):format(outcome.status,
        tail(outcome.output .. "\n" .. outcome.errors)) }
  end
  return results
end

--- Runs the files in so many jobs. Options as of runner.run, shared (no stores of their own),
-- and on_file_end(file, passed, milliseconds). Returns the counts and all results, in the order in which files ended.
function parallel.run(files, jobs, options)
  local counts, all = { passed = 0, failed = 0, skipped = 0 }, {}
  local next_file = 1

  local function take(file, results, milliseconds)
    local passed = 0
    for _, result in ipairs(results) do
      local kind = kind_of(result.status)
      counts[kind] = counts[kind] + 1
      if kind == "passed" then passed = passed + 1 end
      all[#all + 1] = result
      if options.on_result then options.on_result(result, kind) end
    end
    if options.on_file_end then options.on_file_end(file, passed, milliseconds) end
  end

  local function work(number)
    local place <close> = options.shared and shared or environment.open("job " .. number)
    while files[next_file] do
      local file = files[next_file]
      next_file = next_file + 1
      local began = task.monotonic_ms()
      local outcome, reason = process.run(words_of(place, file, options))
      take(file, results_of(file, outcome or { status = -1, output = "", errors = reason }),
        task.monotonic_ms() - began)
    end
  end

  local workers = {}
  for number = 1, math.min(jobs, #files) do workers[number] = task.spawn(work, number) end
  for number, worker in ipairs(workers) do
    local ok, problem = pcall(worker.wait, worker)
    if not ok then
      take(("job %d"):format(number), { { name = "(job)", file = "job " .. number, status = "error",
        message = tostring(problem) } }, 0)
    end
  end
  -- No job was left to take these.
  while files[next_file] do
    take(files[next_file], { { name = "(file)", file = files[next_file], status = "error", message = "was not run" } }, 0)
    next_file = next_file + 1
  end
  return counts, all
end

return parallel
