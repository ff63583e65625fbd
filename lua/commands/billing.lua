-- footlight billing: compare Redis with the ledger, wallet by wallet, while everything runs; and make
-- Redis anew from the ledger after it was lost.
local billing = require "runtime.billing"
local command = require "footlight.command"
local accounts = require "store.accounts"
local ledger = require "store.ledger"
local proof = require "store.ledger_proof"
local task = require "runtime.task"

local PAGE = 500
local SHOWN = 50
local WAIT_SECONDS = 10

-- Every account that Redis or the ledger knows a wallet of, in order.
local function all_accounts()
  local seen, list = {}, {}
  local function add(id)
    if not seen[id] then
      seen[id] = true
      list[#list + 1] = id
    end
  end
  local cursor = "0"
  repeat
    local found, next_cursor = billing.scan(cursor)
    for _, id in ipairs(found) do add(id) end
    cursor = next_cursor
  until cursor == "0"
  local last = 0
  repeat
    local page = ledger.accounts(last, PAGE)
    for _, row in ipairs(page) do
      add(row.id)
      last = row.id
    end
  until #page < PAGE
  table.sort(list)
  return list
end

-- What is wrong with one wallet: nil, or "waiting" when the ledger has not come that far, or a sentence.
local function compare(wallet)
  local booked = ledger.wallet(wallet.account, wallet.seq)
  if booked.seq < wallet.seq then return "waiting", booked end
  if booked.changes ~= wallet.seq then
    return ("the ledger has %d of %d changes"):format(booked.changes, wallet.seq), booked
  end
  if wallet.paid < 0 or wallet.bonus < 0 or wallet.held < 0 then return "an amount is below zero", booked end
  if wallet.paid + wallet.bonus + wallet.held ~= booked.paid + booked.bonus then
    return "the balance differs", booked
  end
  if wallet.debt ~= booked.debt then return "the debt differs", booked end
  local newest = ledger.wallet(wallet.account)
  if newest.seq > wallet.seq then
    -- Changes that came after Redis was read are right; a wallet that stands still behind is not.
    local again = billing.wallet(wallet.account)
    if again.seq < newest.seq then return "Redis has forgotten changes that the ledger has", newest end
  end
  return nil
end

local function compare_all(wait)
  local differences, todo = {}, all_accounts()
  local function note(wallet, problem, booked)
    differences[#differences + 1] = { account = wallet.account, problem = problem, redis = wallet, ledger = booked }
  end
  local rounds = wait * 4
  local late = {}
  for _, id in ipairs(todo) do
    local wallet = billing.wallet(id)
    local problem, booked = compare(wallet)
    if problem == "waiting" then
      late[#late + 1] = { wallet, booked }
    elseif problem then
      note(wallet, problem, booked)
    end
  end
  while #late > 0 and rounds > 0 do
    task.sleep(0.25)
    rounds = rounds - 1
    local still = {}
    for _, item in ipairs(late) do
      -- Against the wallet as it was read: the ledger catches up with that moment.
      local problem, booked = compare(item[1])
      if problem == "waiting" then
        still[#still + 1] = { item[1], booked }
      elseif problem then
        note(item[1], problem, booked)
      end
    end
    late = still
  end
  for _, item in ipairs(late) do
    note(item[1], ("the ledger has come to change %d of %d only"):format(item[2].seq, item[1].seq), item[2])
  end
  return differences, #todo
end

local function shards_behind()
  local behind, cursors = {}, ledger.cursors()
  for _, shard in ipairs(billing.outbox.look()) do
    local cursor = cursors[shard.shard]
    if shard.last_ms < cursor.stream_ms
      or shard.last_ms == cursor.stream_ms and shard.last_n < cursor.stream_n then
      behind[#behind + 1] = shard.shard
    end
  end
  return behind
end

local function reconcile(options, out)
  local wait = math.tointeger(tonumber(options.wait or WAIT_SECONDS))
  if not wait or wait < 0 or wait > 3600 then return out:fail(command.USAGE, "--wait takes whole seconds") end
  local differences, count = compare_all(wait)
  local found = {
    wallets = count, differences = differences, unbalanced = ledger.unbalanced(SHOWN),
    wrong_balances = ledger.wrong_balances(SHOWN), quarantined = ledger.quarantined(SHOWN),
    shards_behind = shards_behind(),
  }
  found.ok = #differences == 0 and #found.unbalanced == 0 and #found.wrong_balances == 0
    and #found.quarantined == 0
  local lines = {}
  local show = command.show_credits
  for i = 1, math.min(#differences, SHOWN) do
    local d = differences[i]
    lines[i] = ("wallet of account %d: %s (Redis %s at change %d, ledger %s at change %d)"):format(d.account,
      d.problem, show(d.redis.paid + d.redis.bonus + d.redis.held), d.redis.seq,
      show(d.ledger.paid + d.ledger.bonus), d.ledger.seq)
  end
  for _, row in ipairs(found.unbalanced) do
    lines[#lines + 1] = ("transaction %d (%s) does not sum to zero in %s"):format(row.id, row.idem_key, row.currency)
  end
  for _, row in ipairs(found.wrong_balances) do
    lines[#lines + 1] = ("balance of ledger wallet %d is not the sum of its entries"):format(row.wallet_id)
  end
  for _, row in ipairs(found.quarantined) do
    lines[#lines + 1] = ("outbox entry %d:%d-%d was set aside: %s"):format(row.shard, row.stream_ms, row.stream_n,
      row.reason)
  end
  for _, shard in ipairs(found.shards_behind) do
    lines[#lines + 1] = ("shard %d: Redis has forgotten entries that the ledger has"):format(shard)
  end
  lines[#lines + 1] = ("%d wallets compared, %s"):format(count, found.ok and "no difference"
    or ("%d differ"):format(#differences))
  out:result(found, table.concat(lines, "\n"))
  return found.ok and command.OK or command.FAILED
end

local function rebuild(_, out)
  local cursors, epochs, rebuilt, last = ledger.cursors(), {}, 0, 0
  repeat
    local page = ledger.accounts(last, PAGE)
    for _, row in ipairs(page) do
      last = row.id
      local booked, shard = ledger.wallet(row.id), billing.shard(row.id)
      epochs[shard] = epochs[shard] or cursors[shard].epoch + 1
      local wallet = billing.restore {
        account = row.id, paid = booked.paid, bonus = booked.bonus, debt = booked.debt, seq = booked.seq,
        frozen = ledger.frozen(row.id), epoch = epochs[shard],
      }
      if not wallet.repeated then rebuilt = rebuilt + 1 end
    end
  until #page < PAGE
  out:result({ rebuilt = rebuilt }, ("%d wallets were behind the ledger and are rebuilt"):format(rebuilt))
  return command.OK
end

local function verify(_, out)
  local batches, problems = 0, {}
  for shard = 0, 15 do
    local count, problem = proof.verify(shard)
    batches = batches + count
    problems[#problems + 1] = problem
  end
  local text = #problems == 0 and ("%d batches, the chain of hashes holds"):format(batches)
    or table.concat(problems, "\n")
  out:result({ ok = #problems == 0, batches = batches, problems = problems }, text)
  return #problems == 0 and command.OK or command.FAILED
end

local function is_day(text) return text:match "^%d%d%d%d%-%d%d%-%d%d$" ~= nil end

local function statement(options, out, name)
  local from, to = options.from or "2000-01-01", options.to or "2999-01-01"
  if not is_day(from) or not is_day(to) then return out:fail(command.USAGE, "days are written YYYY-MM-DD") end
  local account = accounts.by_name(name)
  if not account then return out:fail(command.NOT_FOUND, ("there is no account '%s'"):format(name)) end
  local found = proof.statement("account", account.id, from, to)
  local show, lines = command.show_credits, {}
  lines[1] = ("%-19s  %-14s %-14s %14s"):format("opening", "", "", show(found.opening))
  for _, line in ipairs(found.lines) do
    lines[#lines + 1] = ("%-19s  %-14s %-14s %14s  %s"):format(tostring(line.occurred_at):sub(1, 19), line.type,
      line.kind, show(line.amount), line.reason or line.ref_id or "")
  end
  lines[#lines + 1] = ("%-19s  %-14s %-14s %14s"):format("closing", "", "", show(found.closing))
  out:result(found, table.concat(lines, "\n"))
  return command.OK
end

return command.define {
  name = "billing", summary = "compare wallets with the ledger; rebuild them from it; statements",
  commands = {
    { "reconcile", summary = "compare Redis and the ledger, wallet by wallet; exits 1 on any difference",
      options = { { "--wait SECONDS", ("how long to wait for the ledger to catch up (%d)"):format(WAIT_SECONDS) } },
      run = reconcile },
    { "verify", summary = "recompute the chain of hashes over all that was booked", run = verify },
    { "statement", summary = "what explains an account's balance", arguments = { "NAME" },
      options = { { "--from DAY", "YYYY-MM-DD, UTC" }, { "--to DAY", "not included" } }, run = statement },
    { "rebuild", summary = "set wallets that Redis forgot to what the ledger says", run = rebuild },
  },
}
