--- Carries out what MariaDB's outbox says: projections into the main Redis, orders to the services,
-- mails. Rows are taken under a lease, so several jobs processes share the work and a crash only
-- delays it. Everything is idempotent but mail, which is sent at least once.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local json = require "runtime.json"
local log = require "runtime.log"
local mail_delivery = require "jobs.mail_delivery"
local metrics = require "runtime.metrics"
local outbox = require "store.outbox"
local projections = require "jobs.projections"
local realtime = require "runtime.realtime"
local redis = require "runtime.redis"
local show_news = require "jobs.show_news"
local task = require "runtime.task"

local BATCH = 50
local LEASE_SECONDS = 120
local POLL_SECONDS = 1
local MAIL_ATTEMPTS = 12 -- with the pauses below: about two days
local LONGEST_PAUSE = 6 * 3600

local done = metrics.counter("footlight_outbox_done_total", "Outbox rows carried out.")
local failed = metrics.counter("footlight_outbox_failed_total", "Attempts at outbox rows that failed.")
local waiting = metrics.gauge("footlight_outbox_waiting", "Outbox rows that wait.")
local dead = metrics.gauge("footlight_outbox_dead", "Outbox rows that were given up.")
local oldest = metrics.gauge("footlight_outbox_oldest_seconds", "Age of the oldest row that waits.")

local job = { name = "outbox" }

local kinds = {
  projection = function(payload)
    if payload.account then projections.account(payload.account) end
    if payload.model then projections.model(payload.model, payload.old_slug) end
  end,
  order = function(payload)
    local message = payload.message
    if payload.channel == "ctl:realtime" and message["do"] == "kick" and message.session then
      realtime.kick(message.account, message.reason, message.session) -- remembers the session, too
    else
      redis.publish(payload.channel, json.encode(message))
    end
  end,
  show = function(payload) show_news.tell(payload) end,
  mail = function(payload, row) mail_delivery.send(payload, row.id) end,
}

-- 1, 2, 4 … seconds for what Redis holds up; mail servers get minutes.
local function pause_after(row)
  local first = row.kind == "mail" and 30 or 1
  if row.kind == "mail" and row.attempts >= MAIL_ATTEMPTS then return nil end
  return math.min(first * 2 ^ math.min(row.attempts - 1, 20) // 1 | 0, row.kind == "mail" and LONGEST_PAUSE or 60)
end

local function carry_out(row, worker)
  local work = kinds[row.kind]
  local ok, reason
  if work then
    ok, reason = pcall(work, row.payload, row)
  else
    ok, reason = false, "nothing here carries out a row of this kind"
  end
  if ok then
    outbox.done(row.id, worker)
    done:add(1)
    return
  end
  failed:add(1)
  local pause = work and pause_after(row)
  if type(reason) == "table" and reason.permanent then pause = nil end
  log.warn("outbox.failed", { id = row.id, kind = row.kind, attempt = row.attempts,
    error = tostring(reason), again_in_s = pause })
  outbox.failed(row.id, worker, tostring(reason), pause)
end

--- Carries out what is due now; returns how many rows there were. For run, and for tests.
function job.step(worker)
  local rows = outbox.take(worker, BATCH, LEASE_SECONDS)
  for _, row in ipairs(rows) do carry_out(row, worker) end
  return #rows
end

local function report()
  local figures = outbox.figures()
  waiting:set(figures.waiting)
  dead:set(figures.dead)
  oldest:set(figures.oldest_seconds)
end

-- While MariaDB is away this waits for it; the job need not be started again for that.
local function step_when_possible(worker)
  local ok, count = pcall(job.step, worker)
  if ok then return count end
  if type(count) == "table" and count.kind and count.kind ~= "sql" then return 0 end
  error(count, 0)
end

function job.run()
  local worker = crypto.random_token(12)
  local orders = redis.subscribe("ctl:jobs")
  local reported = 0
  while true do
    while step_when_possible(worker) == BATCH do end
    if task.monotonic_ms() - reported > 5000 and db.ready() then
      report()
      reported = task.monotonic_ms()
    end
    orders:receive(POLL_SECONDS) -- any order, or the time: look
  end
end

return job
