-- The flusher: billing's outbox in the money Redis becomes ledger lines in MariaDB, exactly once and in
-- order, within a second. The cursor moves in the transaction that books, so a crash anywhere repeats
-- at most the trimming. While MariaDB is away the outbox waits; then this catches up.
local billing = require "runtime.billing"
local ledger = require "store.ledger"
local log = require "runtime.log"
local metrics = require "runtime.metrics"
local task = require "runtime.task"

local BATCH = 500
local IDLE_SECONDS = 0.25
local TROUBLE_SECONDS = 1
local IDLE_LOOKS = 20 -- idle rounds between two looks at the cursors

local booked = metrics.counter("footlight_ledger_booked_total", "Outbox entries that were booked.")
local duplicates = metrics.counter("footlight_ledger_duplicates_total", "Entries that were booked already.")
local set_aside = metrics.counter("footlight_ledger_quarantined_total",
  "Entries that contradict the ledger or cannot be booked; a person must look.")
local waiting = metrics.gauge("footlight_ledger_outbox_entries", "Entries that are not booked yet.")
local forgotten = metrics.gauge("footlight_ledger_shards_behind",
  "Shards whose Redis forgot entries that the ledger has; billing must be rebuilt.")

local flusher = {}

-- A refusal of these very rows (SQL states of class 22, data, and 23, constraints), as against a database
-- that is away, busy, or not as it should be (a missing right or table): then everything waits.
local function is_refusal(reason)
  if type(reason) ~= "table" or reason.kind ~= "sql" or reason.retryable then return false end
  local class = tostring(reason.sqlstate):sub(1, 2)
  return class == "22" or class == "23"
end

local function book(shard, epoch, entries)
  local ok, counts = pcall(ledger.book, shard, epoch, entries)
  if ok then return counts end
  if not is_refusal(counts) then error(counts, 0) end
  if #entries > 1 then
    -- One of them is not acceptable: find it by booking them singly.
    local sum = { booked = 0, duplicates = 0, quarantined = 0 }
    for _, entry in ipairs(entries) do
      for name, count in pairs(book(shard, epoch, { entry })) do sum[name] = sum[name] + count end
    end
    return sum
  end
  ledger.set_aside(shard, epoch, entries[1], tostring(counts))
  return { booked = 0, duplicates = 0, quarantined = 1 }
end

local function flush_shard(shard, cursor)
  local ms, n = cursor.stream_ms, cursor.stream_n
  local any = false
  while true do
    local entries, epoch = billing.outbox.read(shard, ms, n, BATCH)
    if epoch > cursor.epoch and not any then
      -- A rebuilt shard starts from its beginning.
      entries = billing.outbox.read(shard, 0, 0, BATCH)
    end
    if #entries == 0 then break end
    local counts = book(shard, epoch, entries)
    booked:add(counts.booked)
    duplicates:add(counts.duplicates)
    if counts.quarantined > 0 then
      set_aside:add(counts.quarantined)
      log.error("ledger.quarantined", { shard = shard, entries = counts.quarantined })
    end
    local last = entries[#entries]
    ms, n, any = last.stream_ms, last.stream_n, true
    if #entries < BATCH then break end
  end
  -- Also what a crash between the commit and this left behind.
  if ms > 0 and not ledger.backup_runs() then billing.outbox.trim(shard, ms, n) end
  return any
end

local function is_behind(shard, cursor)
  return shard.last_ms < cursor.stream_ms
    or shard.last_ms == cursor.stream_ms and shard.last_n < cursor.stream_n
end

local idle = 0

--- Books everything that is there now. Returns how many shards had something new.
function flusher.flush()
  local busy, entries, behind = 0, 0, 0
  local shards = billing.outbox.look()
  for _, shard in ipairs(shards) do entries = entries + shard.length end
  waiting:set(entries)
  -- With nothing to book, the cursors are looked at now and then only.
  idle = entries == 0 and idle + 1 or 0
  if entries == 0 and idle % IDLE_LOOKS ~= 1 then return 0 end
  local cursors = ledger.cursors()
  for _, shard in ipairs(shards) do
    local cursor = cursors[shard.shard]
    if is_behind(shard, cursor) then behind = behind + 1 end
    -- What a backup keeps in the outbox is not new.
    if shard.length > 0 and flush_shard(shard.shard, cursor) then busy = busy + 1 end
  end
  forgotten:set(behind)
  return busy
end

flusher.name = "ledger"

function flusher.run()
  local trouble = false
  while true do
    local ok, result = pcall(flusher.flush)
    if ok then
      if trouble then log.info("ledger.goes_on", { shards = result }) end
      trouble = false
    elseif not trouble then
      trouble = true
      log.warn("ledger.waits", { error = tostring(result) })
    end
    task.sleep(ok and IDLE_SECONDS or TROUBLE_SECONDS)
  end
end

return flusher
