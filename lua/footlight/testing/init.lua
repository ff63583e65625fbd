--- What specs use beside busted: waiting, settings, the clock, the log, mails.
local config = require "runtime.config"
local file = require "runtime.file"
local json = require "runtime.json"
local task = require "runtime.task"
local inside = require "runtime.testing"

local testing = {}

-- Patterns of log lines that the running test has said it expects; the runner takes them.
local expected = {}

--- The running test is expected to log errors whose line matches the pattern (an event's name, say).
function testing.expect_log(pattern)
  expected[#expected + 1] = pattern
end

--- For the runner: whether a line was expected; nil forgets all expectations.
function testing.is_expected(line)
  if line == nil then
    expected = {}
    return false
  end
  for _, pattern in ipairs(expected) do
    if line:find(pattern) then return true end
  end
  return false
end

--- Waits until condition() is true-ish and returns its value; an error after `limit` seconds (5).
function testing.wait_for(condition, limit, what)
  local give_up = task.monotonic_ms() + (limit or 5) * 1000
  while true do
    local value = condition()
    if value then return value end
    if task.monotonic_ms() > give_up then
      error(("waited %g s for %s"):format(limit or 5, what or "a condition"), 2)
    end
    task.sleep(0.005)
  end
end

--- Runs fn(...) with other settings (dotted keys), and puts them back.
function testing.with_settings(settings, fn, ...)
  local before = {}
  local _ <close> = setmetatable({}, { __close = function()
    for key, value in pairs(before) do inside.set(key, value) end
  end })
  for key, value in pairs(settings) do before[key] = inside.set(key, value) or "" end
  return fn(...)
end

local offset = 0

--- Time passes: the wall clock and all timers of Lua code (sleep, every, limits of receive and wait) move on by
-- so many seconds, one timer after the other as they come due, and what they wake runs in between. Deadlines
-- and what servers are given to answer stay as they are.
function testing.skip(seconds)
  local left = math.floor(seconds * 1000 + 0.5)
  repeat
    local moved = inside.skip(left)
    left = left - moved
    testing.advance(moved / 1000)
    for _ = 1, 3 do task.sleep(0.001) end -- a timer fires, a coroutine goes on, and may wait again
  until left <= 0
end

--- The wall clock moves on by so many seconds (timers do not); the runner puts it right again.
function testing.advance(seconds)
  offset = offset + math.floor(seconds * 1000000)
  inside.clock_offset(offset)
end

function testing.reset_clock()
  if offset ~= 0 then
    offset = 0
    inside.clock_offset(0)
  end
end

local ROLL_BACK = {}

--- fn(tx) in a transaction that is always rolled back: what it writes through tx is there for it alone, and
-- then for nobody. Stores take tx as their last argument. Returns nothing; errors are raised.
function testing.rolled_back(fn)
  local db = require "runtime.db"
  local _, problem = pcall(db.transaction, function(tx)
    fn(tx)
    error(ROLL_BACK, 0)
  end)
  if problem ~= ROLL_BACK then error(problem, 0) end
end

--- Coroutines, pending operations, handles and descriptors that are open now.
function testing.figures()
  local figures = inside.figures()
  local scheduler = task.figures()
  figures.coroutines, figures.pending = scheduler.coroutines, scheduler.pending
  return figures
end

-- ---- mails ------------------------------------------------------------------------------------

local mailbox = {}
testing.mailbox = mailbox

local function folder() return assert(config.get("mail.mailbox"), "mail.mailbox is not set") end

--- All mails in the mailbox, oldest first; only those to `address` if it is given.
function mailbox.all(address)
  local mails = {}
  local names = file.list(folder()) or {}
  table.sort(names)
  for _, name in ipairs(names) do
    local text = name:find("%.json$") and file.read(folder() .. "/" .. name)
    local mail = text and json.decode(text)
    if mail and (not address or mail.to == address) then mails[#mails + 1] = mail end
  end
  return mails
end

--- Waits for a mail to the address and returns the latest.
function mailbox.wait(address, limit)
  return testing.wait_for(function()
    local mails = mailbox.all(address)
    return mails[#mails]
  end, limit, "a mail to " .. address)
end

function mailbox.clear()
  for _, name in ipairs(file.list(folder()) or {}) do file.remove(folder() .. "/" .. name) end
end

return testing
