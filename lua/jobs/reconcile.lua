--- Reconciliation that never ends: a few wallets every few seconds, all of them in turn. A difference raises
-- a metric and is logged with the account and its last entries; `footlight billing reconcile` says more.
local billing = require "runtime.billing"
local books = require "site.payments.reconcile"
local log = require "runtime.log"
local metrics = require "runtime.metrics"
local reconciliation = require "store.reconciliation"
local task = require "runtime.task"

local PAUSE_SECONDS = 5
local SAMPLE = 50       -- wallets a round
local LATE_SECONDS = 60 -- the ledger is never that far behind while it is well
local SHOWN = 5
local TXNS, WALLETS = 2000, 500 -- of the ledger, a round
local PROVIDERS_SECONDS = 3600 -- between two looks at the books of providers
local PROVIDERS_DAYS = 3

local compared = metrics.counter("footlight_reconcile_wallets_total", "Wallets that were compared with the ledger.")
local differing = metrics.gauge("footlight_reconcile_differences",
  "Wallets and orders that differ from the ledger at this moment; a person must look.")

local payment_differences = metrics.gauge("footlight_reconcile_payment_differences",
  "Payments of the last days that the provider's books and the orders disagree about; a person must look.")

local job = { name = "reconcile" }

local cursor, queue = "0", {}
local differences = {} -- account → problem
local late = {}        -- account → { wallet, since }
local wrong_orders = 0
local last_txn, last_wallet = 0, 0
local ledger_problems = {} -- nothing of the ledger is ever changed: what is wrong in it stays so

local function settle(account, problem, booked, wallet)
  if problem and differences[account] ~= problem then
    log.error("reconcile.difference", { account = account, problem = problem, redis_seq = wallet.seq,
      redis = wallet.paid + wallet.bonus + wallet.held, ledger_seq = booked.seq, ledger = booked.paid + booked.bonus,
      entries = table.concat(reconciliation.entries(account, SHOWN), " ") })
  elseif not problem and differences[account] then
    log.info("reconcile.agrees", { account = account })
  end
  differences[account] = problem
end

-- Compares a wallet as it was read. One that the ledger has not come to is looked at again.
local function look(wallet, since)
  local problem, booked = reconciliation.compare(wallet)
  if problem == "waiting" then
    if task.monotonic_ms() - since < LATE_SECONDS * 1000 then
      late[wallet.account] = { wallet = wallet, since = since }
      return
    end
    problem = "the ledger does not come to its changes"
  end
  compared:add(1)
  settle(wallet.account, problem, booked, wallet)
end

-- The ledger in itself: the next transactions and the next wallets.
local function look_at_ledger()
  local unbalanced, drifted
  unbalanced, last_txn = reconciliation.unbalanced(last_txn, TXNS)
  for _, row in ipairs(unbalanced) do
    ledger_problems["transaction " .. row.id] = true
    log.error("reconcile.unbalanced", { transaction = row.id, key = row.idem_key, account = row.account_id,
      currency = row.currency, sum = row.sum })
  end
  drifted, last_wallet = reconciliation.drifted(last_wallet, WALLETS)
  for _, row in ipairs(drifted) do
    ledger_problems["wallet " .. row.wallet_id] = true
    log.error("reconcile.drifted", { wallet = row.wallet_id, kind = row.kind, owner = row.owner_type .. ":" .. row.owner_id,
      balance = row.balance, booked = row.booked, entry = row.version })
  end
end

--- One round: those that were late, those that differ, and the next of the sample. Returns how many wallets
-- and orders differ, and whether this round ended a turn through all wallets.
function job.step(sample)
  local again = late
  late = {}
  for _, item in pairs(again) do look(item.wallet, item.since) end
  local todo = {}
  for account in pairs(differences) do todo[#todo + 1] = account end
  while #queue == 0 do
    local found, following = billing.scan(cursor)
    cursor = following
    for i, account in ipairs(found) do queue[i] = account end
    if cursor == "0" then break end
  end
  for _ = 1, math.min(sample or SAMPLE, #queue) do todo[#todo + 1] = table.remove(queue) end
  for _, account in ipairs(todo) do look(billing.wallet(account), task.monotonic_ms()) end
  local orders = reconciliation.orders(SHOWN)
  if #orders > 0 and #orders ~= wrong_orders then
    for _, order in ipairs(orders) do
      log.error("reconcile.order", { order = order.public_id, account = order.account_id, state = order.state,
        credits = order.credits, booked = order.paid })
    end
  end
  wrong_orders = #orders
  look_at_ledger()
  local count = wrong_orders
  for _ in pairs(ledger_problems) do count = count + 1 end
  for _ in pairs(differences) do count = count + 1 end
  differing:set(count)
  return count, cursor == "0" and #queue == 0
end

--- One look at the books of the payment providers. Returns the number of differences.
function job.look_at_providers()
  local found, _, failed = books.all(PROVIDERS_DAYS)
  for _, d in ipairs(found) do
    log.error("reconcile.payment", { provider = d.provider, payment = d.payment, order = d.order, account = d.account,
      problem = d.problem, entries = d.account and table.concat(reconciliation.entries(d.account, SHOWN), " ") })
  end
  for name, reason in pairs(failed) do
    log.warn("reconcile.provider_away", { provider = name, error = tostring(reason) })
  end
  payment_differences:set(#found)
  return #found
end

function job.run()
  local next_look = task.monotonic_ms() + PAUSE_SECONDS * 1000
  while true do
    task.sleep(PAUSE_SECONDS)
    local ok, reason = pcall(job.step)
    -- A store that is away is not a difference.
    if not ok then log.debug("reconcile.waits", { error = tostring(reason) }) end
    if task.monotonic_ms() >= next_look then
      next_look = task.monotonic_ms() + PROVIDERS_SECONDS * 1000
      ok, reason = pcall(job.look_at_providers)
      if not ok then log.debug("reconcile.waits", { error = tostring(reason) }) end
    end
  end
end

return job
