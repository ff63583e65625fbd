-- FOOTLIGHT_FAULT_RATE operations a second while MariaDB is off. Run by `tools/fault ledger`, which makes the
-- accounts, stops MariaDB, and looks afterwards whether everything was booked.
local billing = require "runtime.billing"
local config = require "runtime.config"
local process = require "runtime.process"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"

local CREDIT = 1000000
local WORKERS, METERS = 32, 60
local seconds = tonumber(os.getenv "FOOTLIGHT_FAULT_SECONDS" or "0")
local rate = tonumber(os.getenv "FOOTLIGHT_FAULT_RATE" or "500")
local model = math.tointeger(tonumber(os.getenv "FOOTLIGHT_FAULT_MODEL" or "0"))
local run = os.getenv "FOOTLIGHT_FAULT_RUN" or "x"
local accounts = {}
for id in (os.getenv "FOOTLIGHT_FAULT_ACCOUNTS" or ""):gmatch "%d+" do accounts[#accounts + 1] = math.tointeger(id) end

local done, late, worst, numbers, refusals, watched = 0, 0, 0, 0, {}, 0

local function refused(what, reason)
  refusals[#refusals + 1] = what .. ": " .. tostring(reason)
end

-- One outbox entry each, under a key that is counted afterwards.
local function operation()
  numbers = numbers + 1
  local number = numbers
  local op, account = ("l:%s:%d"):format(run, number), accounts[number % #accounts + 1]
  local values = { op = op, account = account, amount = number % 97 + 1, payee = model, reason = "fault", actor = "fault" }
  local kind, call = number % 10, billing.tip
  if kind < 2 then
    values.type, values.bucket, values.amount = "purchase", kind == 0 and "paid" or "bonus", 5 * CREDIT
    if kind == 1 then values.type = "promotion" end
    call = billing.credit
  elseif kind == 2 then
    call = billing.adjust
  elseif kind == 3 then
    local hold = { op = op .. ".h", account = account, amount = 500, payee = model, seconds = 60 }
    local held, why = billing.hold(hold)
    if not held then return refused("hold", why) end
    values.original, values.amount, call = hold.op, number % 500 + 1, billing.capture
  elseif kind == 4 and number > 2000 then
    -- A tip of long ago goes back: number - 1005 is one (kind 9).
    values = { op = op, account = accounts[(number - 1005) % #accounts + 1], original = ("l:%s:%d"):format(run, number - 1005),
      reason = "fault" }
    call = billing.refund
  end
  local ok, wallet, reason = pcall(call, values)
  if not ok or not wallet then return refused(op, ok and reason or wallet) end
  done = done + 1
end

local function worker(number, began, ends)
  local due = began + number * 1000 // rate
  while due < ends do
    local wait = due - task.monotonic_ms()
    if wait > 0 then task.sleep(wait / 1000) end
    operation()
    local behind = task.monotonic_ms() - due
    worst = math.max(worst, behind)
    if behind > 1000 then late = late + 1 end
    due = due + WORKERS * 1000 / rate
  end
end

local function meter(number, ends)
  local count = 0
  while task.monotonic_ms() < ends do
    count = count + 1
    local sid = ("l:%s:m%d:%d"):format(run, number, count)
    local ok, opened, reason = pcall(billing.open, { sid = sid, account = accounts[number % #accounts + 1],
      rate = 60000, payee = model })
    if not ok or not opened then refused("open", ok and reason or opened) end
    for _ = 1, 20 do
      if ok and opened and not billing.evidence(sid) then
        refused("evidence", "the meter was ended")
        break
      end
      task.sleep(1)
    end
    billing.close(sid, "done")
  end
end

-- The picture itself, through media: tickets are let in, keys and playlists served, without MariaDB.
local function watcher(ends)
  local slug = streaming.list()[1]
  while slug and task.monotonic_ms() < ends do
    local ticket = streaming.issue_ticket { account = accounts[1], slug = slug, rate = 60000, ttl = 60 }
    local outcome = process.run { "curl", "-s", "-m", "4", "-o", "/dev/null", "-w", "%{size_download}",
      config.get "site.url" .. "/media/flv/" .. ticket }
    local size = outcome and tonumber(outcome.output) or 0
    if size > 1000 then watched = watched + 1 else refused("watching", size .. " bytes") end
    task.sleep(2)
  end
end

describe("billing without MariaDB", function()
  it("refuses nothing and keeps its pace", function()
    testing.expect_log "."
    for i, account in ipairs(accounts) do
      billing.credit { op = ("l0:%s:%d"):format(run, i), account = account, amount = 100000 * CREDIT, type = "purchase",
        bucket = "paid", reason = "fault", actor = "fault" }
    end
    local began = task.monotonic_ms()
    local ends, tasks = began + seconds * 1000, {}
    for i = 0, WORKERS - 1 do tasks[#tasks + 1] = task.spawn(worker, i, began, ends) end
    for i = 1, METERS do tasks[#tasks + 1] = task.spawn(meter, i, ends) end
    tasks[#tasks + 1] = task.spawn(watcher, ends)
    task.wait_all(tasks)
    io.stdout:write(("ledger: %d operations, answered at most %d ms behind their time, %d after more than a second; %d viewers watched, %d refused\n")
      :format(done, math.floor(worst), late, watched, #refusals))
    assert.same({}, { refusals[1], refusals[2], refusals[3] })
    assert.is_true(watched > 0)
  end)
end)
