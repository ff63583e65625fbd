-- footlight billing: compare Redis with the ledger, wallet by wallet, while everything runs; and make
-- Redis anew from the ledger after it was lost.
local billing = require "runtime.billing"
local command = require "footlight.command"
local accounts = require "store.accounts"
local flusher = require "jobs.ledger"
local json = require "runtime.json"
local ledger = require "store.ledger"
local models = require "store.models"
local proof = require "store.ledger_proof"
local periods = require "store.ledger_periods"
local quarantine = require "store.ledger_quarantine"
local provider_books = require "site.payments.reconcile"
local reconciliation = require "store.reconciliation"
local recovery = require "store.ledger_recovery"
local tariff = require "store.tariff"
local task = require "runtime.task"

local PAGE = 500
local SHOWN = 50
local WAIT_SECONDS = 10
local PROVIDER_DAYS = 3

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

local function compare_all(wait)
  local differences, todo = {}, all_accounts()
  local function note(wallet, problem, booked)
    differences[#differences + 1] = { account = wallet.account, problem = problem, redis = wallet, ledger = booked }
  end
  local rounds = wait * 4
  local late = {}
  for _, id in ipairs(todo) do
    local wallet = billing.wallet(id)
    local problem, booked = reconciliation.compare(wallet)
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
      local problem, booked = reconciliation.compare(item[1])
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

-- What the providers have; lines for people go behind `lines`.
local function compare_providers(options, out, found, lines)
  local days = math.tointeger(tonumber(options.days or PROVIDER_DAYS))
  if not days or days < 1 or days > 366 then out:stop(command.USAGE, "--days takes 1 to 366") end
  local compared, failed
  found.payments, compared, failed = provider_books.all(days)
  for _, d in ipairs(found.payments) do
    lines[#lines + 1] = ("payment %s of %s (order %s, account %s) %s"):format(d.payment or "?", d.provider,
      d.order or "?", d.account or "?", d.problem)
  end
  for name, count in pairs(compared) do lines[#lines + 1] = ("%d payments of %s compared"):format(count, name) end
  for name, reason in pairs(failed) do lines[#lines + 1] = ("%s could not be asked: %s"):format(name, reason) end
  return #found.payments == 0 and next(failed) == nil
end

local function reconcile(options, out)
  local wait = math.tointeger(tonumber(options.wait or WAIT_SECONDS))
  if not wait or wait < 0 or wait > 3600 then return out:fail(command.USAGE, "--wait takes whole seconds") end
  local differences, count = compare_all(wait)
  local found = {
    wallets = count, differences = differences, unbalanced = ledger.unbalanced(SHOWN),
    wrong_balances = ledger.wrong_balances(SHOWN), quarantined = ledger.quarantined(SHOWN),
    shards_behind = shards_behind(), orders = reconciliation.orders(SHOWN),
  }
  found.ok = #differences == 0 and #found.unbalanced == 0 and #found.wrong_balances == 0
    and #found.quarantined == 0 and #found.orders == 0
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
  for _, row in ipairs(found.orders) do
    lines[#lines + 1] = ("order %s of account %d is %s over %s, the ledger has %s"):format(row.public_id,
      row.account_id, row.state, show(row.credits), row.paid and show(row.paid - row.debt) or "nothing")
  end
  for _, shard in ipairs(found.shards_behind) do
    lines[#lines + 1] = ("shard %d: Redis has forgotten entries that the ledger has"):format(shard)
  end
  if options.providers and not compare_providers(options, out, found, lines) then found.ok = false end
  lines[#lines + 1] = ("%d wallets compared, %s"):format(count, found.ok and "no difference"
    or ("%d differ"):format(#differences))
  out:result(found, table.concat(lines, "\n"))
  return found.ok and command.OK or command.FAILED
end

local function tariff_lines()
  local lines, found = {}, {}
  for name in pairs(tariff.names) do found[#found + 1] = name end
  table.sort(found)
  for i, name in ipairs(found) do
    local history = tariff.history(name)
    lines[i] = ("%-26s %10d  %s"):format(name, history[1] and history[1].number or 0, history[1] and history[1].reason or "")
  end
  return lines
end

local function set_tariff(options, out)
  if options.set then
    local name, text = options.set:match "^([%w_.]+)=(%d+)$"
    local known, number = tariff.names[name or ""], math.tointeger(tonumber(text or ""))
    if not known or not number then
      return out:fail(command.USAGE, "--set takes NAME=NUMBER, with a name of those that are listed")
    end
    if not options.reason or not options.reason:find "%S" then
      return out:fail(command.USAGE, "--reason is missing: it stays in the history")
    end
    if not tariff.set(name, number, options.reason) then
      return out:fail(command.USAGE, ("%s takes %d to %d"):format(name, known.least, known.most))
    end
  end
  out:result(tariff.current(), table.concat(tariff_lines(), "\n"))
  return command.OK
end

local function rebuild(_, out)
  local rebuilt, told = recovery.rebuild()
  out:result({ rebuilt = rebuilt, keys = told },
    ("%d wallets were behind the ledger and are rebuilt, with the keys of %d operations"):format(rebuilt, told))
  return command.OK
end

local function flush(_, out)
  local rounds = 0
  while flusher.flush() > 0 do rounds = rounds + 1 end
  out:result({ rounds = rounds }, "everything is booked")
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
  if options.month then from, to = periods.bounds(options.month) end
  if not from then return out:fail(command.USAGE, "a month is written YYYY-MM") end
  if not is_day(from) or not is_day(to) then return out:fail(command.USAGE, "days are written YYYY-MM-DD") end
  local owner = options.model and models.by_slug(name) or not options.model and accounts.by_name(name)
  if not owner then
    return out:fail(command.NOT_FOUND, ("there is no %s '%s'"):format(options.model and "model" or "account", name))
  end
  local found = proof.statement(options.model and "model" or "account", owner.id, from, to)
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

local function close(_, out, month)
  local row, reason = periods.close(month, "command")
  if not row then return out:fail(command.FAILED, ("%s is not closed: %s"):format(month, reason)) end
  local lines = { ("%s is closed with %d transactions"):format(month, row.txns) }
  for _, total in ipairs(row.totals) do
    lines[#lines + 1] = ("%-8s %-18s %s %16s %16s"):format(total.owner_type, total.kind, total.currency,
      command.show_credits(total.moved), command.show_credits(total.closing))
  end
  out:result(row, table.concat(lines, "\n"))
  return command.OK
end

local function basis_points(out, text)
  if text == nil or text == "default" then return nil end
  local bp = text:find "^%d+$" and math.tointeger(tonumber(text))
  if not bp or bp > 10000 then
    out:stop(command.USAGE, ("'%s' is no share: 0 to 10000 basis points, or default"):format(text))
  end
  return bp
end

local function split(options, out, slug)
  local model = models.by_slug(slug)
  if not model then return out:fail(command.NOT_FOUND, ("there is no model '%s'"):format(slug)) end
  if options.paid or options.bonus then
    if not options.reason or not options.reason:find "%S" then
      return out:fail(command.USAGE, "--reason is missing: it stays in the history")
    end
    periods.set_split(model.id, basis_points(out, options.paid), basis_points(out, options.bonus), "command",
      options.reason)
  end
  local lines, history = {}, periods.splits_of(model.id)
  for i, row in ipairs(history) do
    lines[i] = ("%s  paid %s  bonus %s  %s"):format(tostring(row.valid_from):sub(1, 19), row.paid_bp or "default",
      row.promo_bp or "default", row.reason)
  end
  out:result(history, #lines > 0 and table.concat(lines, "\n") or "the shares of the settings")
  return command.OK
end

local why_not = {
  gone = "there is no such entry that waits", taken = "its place in the wallet is booked: rebuild or adjust the "
    .. "wallet, then dismiss it", missing = "the wallet has this change and the ledger has not: book it",
}

local function set_aside(options, out, id)
  if not id then
    local lines, list = {}, quarantine.list(SHOWN, options.all)
    for i, row in ipairs(list) do
      local entry = json.decode(row.entry)
      lines[i] = ("%6d  %s  account %s  %s %s  paid %s bonus %s debt %s  %s%s"):format(row.id,
        tostring(row.created_at):sub(1, 19), entry.account or "?", entry.type or "?", entry.op or "?",
        entry.paid or "?", entry.bonus or "?", entry.debt or "?", row.reason,
        row.solution and ("  (%s)"):format(row.solution) or "")
    end
    out:result(list, #lines > 0 and table.concat(lines, "\n") or "nothing is set aside")
    return command.OK
  end
  local number = id:find "^%d+$" and math.tointeger(tonumber(id))
  if not number or (options.book == nil) == (options.dismiss == nil) then
    return out:fail(command.USAGE, "say --book or --dismiss for one entry")
  end
  if not options.reason or not options.reason:find "%S" then
    return out:fail(command.USAGE, "--reason is missing: it stays with the entry")
  end
  local decide = options.book and quarantine.book or quarantine.dismiss
  local ok, reason = decide(number, nil, options.reason)
  if not ok then return out:fail(command.FAILED, why_not[reason] or reason) end
  out:result({ id = number }, ("entry %d is decided"):format(number))
  return command.OK
end

return command.define {
  name = "billing", summary = "compare wallets with the ledger; rebuild them from it; statements",
  commands = {
    { "reconcile", summary = "compare Redis and the ledger, wallet by wallet; exits 1 on any difference",
      options = { { "--wait SECONDS", ("how long to wait for the ledger to catch up (%d)"):format(WAIT_SECONDS) },
        { "--providers", "the books of the payment providers, too" },
        { "--days DAYS", ("of them, how many days back (%d)"):format(PROVIDER_DAYS) } },
      run = reconcile },
    { "flush", summary = "book what waits in the outbox, once; jobs does it all the time", run = flush },
    { "verify", summary = "recompute the chain of hashes over all that was booked", run = verify },
    { "statement", summary = "what explains an account's balance", arguments = { "NAME" },
      options = { { "--from DAY", "YYYY-MM-DD, UTC" }, { "--to DAY", "not included" },
        { "--month MONTH", "YYYY-MM" }, { "--model", "NAME is a model's slug" } }, run = statement },
    { "close", summary = "close a month for good", arguments = { "MONTH" }, run = close },
    { "split", summary = "a model's own shares, from now on", arguments = { "SLUG" },
      options = { { "--paid BP", "of paid credits, in basis points; or default" },
        { "--bonus BP", "of bonus credits" }, { "--reason TEXT", "why; stays in the history" } }, run = split },
    { "quarantine", summary = "entries that were set aside; decide about one", arguments = { "[ID]" },
      options = { { "--book", "the wallet is right: into the ledger with it" },
        { "--dismiss", "the ledger is right as it is" }, { "--reason TEXT", "why; stays with the entry" },
        { "--all", "list what was decided, too" } }, run = set_aside },
    { "tariff", summary = "what sessions cost beside the rate: increments, free seconds, minimum, promotion, preview",
      options = { { "--set NAME=NUMBER", "from now on; seconds, micro-credits or basis points" },
        { "--reason TEXT", "why; stays in the history" } }, run = set_tariff },
    { "rebuild", summary = "set wallets that Redis forgot to what the ledger says", run = rebuild },
  },
}
