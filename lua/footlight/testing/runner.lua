--- Runs busted specs inside the runtime. All of busted runs in one coroutine of the scheduler, so a
-- test, a before_each or a describe may wait for anything; each has a limit in time. A test fails too
-- if it logs an error that it did not announce, and a file if it leaves coroutines, waits, connections,
-- child processes or requests behind.
local json = require "runtime.json"
local task = require "runtime.task"
local inside = require "runtime.testing"
local testing = require "footlight.testing"

local runner = {}

local LIMIT_SECONDS = 30
local SETTLE_SECONDS = 5

local function full_name(busted, element)
  local names = {}
  while element and element.descriptor ~= "file" and element.descriptor ~= "suite" do
    table.insert(names, 1, tostring(element.name or element.descriptor))
    element = busted.context.parent(element)
  end
  return table.concat(names, " ")
end

local function file_of(busted, element)
  while element and element.descriptor ~= "file" do element = busted.context.parent(element) end
  return element and element.name or "?"
end

-- "session.unknown: mariadb: away" of a log line: a failure is read by people.
local function short(line)
  local fields = json.decode(line)
  if type(fields) ~= "table" then return line end
  local detail = tostring(fields.error or ""):match("^[^\n]*")
  return fields.event .. (detail ~= "" and ": " .. detail or "")
end

-- Error lines that nobody announced, as one text; nil if there are none.
local function unexpected_log()
  local found = {}
  for _, line in ipairs(inside.take_log()) do
    if line.level == "error" and not testing.is_expected(line.text) then
      found[#found + 1] = short(line.text)
    end
  end
  return found[1] and table.concat(found, "\n")
end

local Run = {}
Run.__index = Run

function Run:record(element, status, message, trace)
  local result = {
    name = full_name(self.busted, element), file = file_of(self.busted, element), status = status,
    message = message, line = element.trace and element.trace.currentline,
    milliseconds = element.duration and math.floor(element.duration * 1000 + 0.5),
    trace = type(trace) == "table" and trace.traceback or nil,
  }
  if result.name == "" then result.name = ("(%s)"):format(element.descriptor or "file") end
  self.results[#self.results + 1] = result
  local kind = status == "success" and "passed" or status == "pending" and "skipped" or "failed"
  self.counts[kind] = self.counts[kind] + 1
  if self.options.on_result then self.options.on_result(result, kind) end
end

-- What a file may not leave behind, as testing.figures() names it and as people do.
local leavings = {
  { "coroutines", "coroutines" }, { "pending", "waits" }, { "database", "connections to MariaDB" },
  { "processes", "child processes" }, { "transfers", "outgoing requests" }, { "connections", "connections of clients" },
}

-- Waits until no more of anything is there than before the file began.
function Run:check_leaks(element, before)
  local give_up = task.monotonic_ms() + SETTLE_SECONDS * 1000
  local left
  repeat
    local now = testing.figures()
    left = {}
    for _, item in ipairs(leavings) do
      local more = now[item[1]] - before[item[1]]
      if more > 0 then left[#left + 1] = ("%d %s"):format(more, item[2]) end
    end
    if not left[1] then return end
    collectgarbage() -- what nobody holds any more is closed by the collector, and is not left behind
    task.sleep(0.01)
  until task.monotonic_ms() > give_up
  self:record(element, "error", "the file leaves behind: " .. table.concat(left, ", "))
end

-- Each call of user code gets a time limit; tests are followed by a look at the log.
function Run:guard_calls()
  local busted, run = self.busted, self
  local safe, get_trace = busted.safe, busted.getTrace
  local user_code = { it = true, before_each = true, after_each = true, strict_setup = true,
    strict_teardown = true, lazy_setup = true, lazy_teardown = true, finally = true, file = true }

  -- A tail call, so that the levels of the stack stay what busted expects. The limit is lifted first:
  -- what has failed by it must still be able to tell.
  function busted.getTrace(...)
    inside.limit(nil)
    return get_trace(...)
  end

  function busted.safe(descriptor, fn, element)
    -- busted uses the same words for its own steps around the code of people.
    if not user_code[descriptor] or (fn ~= element.run and descriptor ~= "finally") then
      return safe(descriptor, fn, element)
    end
    local guarded = function()
      inside.limit(run.options.limit or LIMIT_SECONDS)
      fn()
      inside.limit(nil)
      if descriptor == "it" then
        local text = unexpected_log()
        if text then error("the test logs errors that it did not announce (testing.expect_log):\n" .. text, 0) end
      end
    end
    if run.options.list and descriptor ~= "file" then guarded = function() end end
    if descriptor == "it" then inside.take_log() end
    local results = table.pack(safe(descriptor, guarded, element))
    inside.limit(nil)
    if descriptor == "it" then -- what a before_each announced held for this test
      run.logged = unexpected_log() -- of a test that failed otherwise: it may say why
      testing.reset_clock()
      testing.is_expected(nil)
    end
    return table.unpack(results, 1, results.n)
  end
end

function Run:subscribe()
  local busted = self.busted
  local failures = {} -- of the element that runs now
  local before

  local function on_failure(element, _, message, trace)
    if element.descriptor == "it" then
      failures[#failures + 1] = { message = message, trace = trace }
    else
      self:record(element, "error", tostring(message), trace)
    end
    return nil, true
  end
  busted.subscribe({ "failure" }, on_failure)
  busted.subscribe({ "error" }, on_failure)
  busted.subscribe({ "test", "start" }, function()
    failures = {}
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    local first = failures[1]
    local message = first and tostring(first.message)
    if message and self.logged then message = message .. "\nlogged meanwhile:\n" .. self.logged end
    self.logged = nil
    self:record(element, status, message, first and first.trace)
    return nil, true
  end)
  busted.subscribe({ "file", "start" }, function(element)
    before = testing.figures()
    if self.options.on_file then self.options.on_file(element.name) end
    return nil, true
  end)
  busted.subscribe({ "file", "end" }, function(element)
    if not self.options.list then self:check_leaks(element, before) end
    return nil, true
  end)
end

--- Runs the specs below the paths. Options: filter (a pattern of the full name), seed (shuffles), list
-- (names only), limit (seconds a test), on_file(name), on_result(result, kind).
-- Returns { passed =, failed =, skipped = } and the list of results.
function runner.run(paths, options)
  local busted = require "busted.core"()
  require "busted"(busted)
  local run = setmetatable({ busted = busted, options = options, results = {},
    counts = { passed = 0, failed = 0, skipped = 0 } }, Run)
  run:guard_calls()
  run:subscribe()
  busted.sort, busted.randomize = false, options.seed ~= nil
  busted.randomseed = options.seed or 1
  require "busted.modules.filter_loader"()(busted, {
    tags = {}, excludeTags = {}, filter = options.filter and { options.filter } or {}, filterOut = {},
    nokeepgoing = false, suppressPending = false,
  })
  local load_files = require "busted.modules.test_file_loader"(busted, { "lua" })
  load_files(paths, { "_spec%.lua$" }, { excludes = {}, verbose = false, recursive = true })
  inside.capture(true)
  local _ <close> = setmetatable({}, { __close = function() inside.capture(false) end })
  require "busted.execute"(busted)(1, { seed = options.seed, shuffle = options.seed ~= nil, sort = false })
  busted.publish({ "exit" })
  return run.counts, run.results
end

return runner
