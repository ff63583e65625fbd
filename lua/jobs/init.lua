--- The jobs service: work that nobody waits for. Each job is a module { name, run } whose run loops for
-- ever; one that raises is started again, a little later each time, and the others go on.
local log = require "runtime.log"
local metrics = require "runtime.metrics"
local task = require "runtime.task"

local names = {
  "outbox", "ledger", "reconcile", "broadcasts", "thumbnails", "orders", "payouts", "recordings", "shows",
  "sweep",
}

local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30 -- seconds
local GOOD_SECONDS = 60 -- a job that ran so long has recovered

local jobs = {}
for i, name in ipairs(names) do
  local job = require("jobs." .. name)
  if type(job) ~= "table" or type(job.run) ~= "function" then
    error(("the module jobs.%s is no job: it must return { name =, run = }"):format(name))
  end
  jobs[i] = { name = job.name or name, run = job.run,
    restarts = metrics.counter("footlight_jobs_restarts_total", "Jobs that failed and were started again.",
      { job = name }) }
end

-- A reload or the end of the process cancels the coroutine: then this raises as well, and ends.
local function keep_running(job)
  local pause = FIRST_PAUSE
  while true do
    local began = task.monotonic_ms()
    local ok, reason = pcall(job.run)
    if ok then reason = "it came to an end" end
    if task.monotonic_ms() - began > GOOD_SECONDS * 1000 then pause = FIRST_PAUSE end
    task.sleep(pause * (0.75 + math.random() / 2)) -- raises when cancelled, before anything is logged
    job.restarts:add(1)
    log.error("jobs.restart", { job = job.name, error = tostring(reason), after_s = pause })
    pause = math.min(pause * 2, LONGEST_PAUSE)
  end
end

return {
  start = function()
    for _, job in ipairs(jobs) do task.spawn(keep_running, job) end
  end,
}
