--- Forgets what has had its time: rows of the outbox that are done and sessions that ended.
local outbox = require "store.outbox"
local sessions = require "store.sessions"
local task = require "runtime.task"

local PAUSE = 600
local OUTBOX_DAYS, SESSION_DAYS = 7, 30

local job = { name = "sweep" }

-- In small bites: a delete of millions would hold locks that others wait for.
local function all_of(sweep, days)
  while sweep(days) > 0 do task.sleep(0.1) end
end

function job.run()
  while true do
    all_of(outbox.sweep, OUTBOX_DAYS)
    all_of(sessions.sweep, SESSION_DAYS)
    task.sleep(PAUSE)
  end
end

return job
