-- The whole running house under random operations, while tools/fault kills and cuts its parts. Run by
-- `tools/fault billing --house`, which sets FOOTLIGHT_FAULT_SECONDS and FOOTLIGHT_FAULT_SEED: with the same
-- seed every client makes the same choices. An operation whose answer is lost is sent again with its key
-- until it has one: then every answer must stand in the ledger, once, and nothing else.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local ledger = require "store.ledger"
local process = require "runtime.process"
local proof = require "store.ledger_proof"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"

local CREDIT = 1000000
local CLIENTS, WATCHERS, ACCOUNTS = 16, 4, 12
local SETTLE_SECONDS = 150 -- what was left open is swept, the ledger catches up
local seconds = tonumber(os.getenv "FOOTLIGHT_FAULT_SECONDS" or "0")
local seed = tonumber(os.getenv "FOOTLIGHT_FAULT_SEED" or "1")

-- A generator of its own for each client: the order in which they are served changes no choice.
local function choices(number)
  local state = (seed * 7919 + number * 104729) % 2147483647 + 1
  return function(most)
    state = state * 48271 % 2147483647
    return state % most + 1
  end
end

local run = crypto.random_token(9):lower():gsub("[^a-z0-9]", "x")
local accounts, model, slug = {}, nil, nil
local answers = {} -- op → { account, paid, bonus }
local refused, lost, sent, watched = {}, 0, 0, 0

-- Waits out whatever is down. Gives the answer, or nil and the refusal.
local function until_answered(call, values)
  while true do
    sent = sent + 1
    local ok, wallet, reason = pcall(call, values)
    if ok then return wallet, reason end
    local text = tostring(wallet)
    if not (text:find "UNAVAILABLE" or text:find "UNKNOWN") then error(wallet, 0) end
    lost = lost + 1
    task.sleep(0.2)
  end
end

local function note(values, wallet, reason)
  if wallet then
    local known = answers[values.op]
    if known then
      assert.same({ known.paid, known.bonus, true }, { wallet.paid_change, wallet.bonus_change, wallet.repeated })
    end
    answers[values.op] = { account = values.account, paid = wallet.paid_change, bonus = wallet.bonus_change }
  elseif not answers[values.op] then
    refused[values.op] = reason
  end
end

local function client(number, ends)
  local pick, count, done = choices(number), 0, {}
  local function go(call, values, silent)
    count = count + 1
    values.op = values.op or ("f:%s:%d:%d"):format(run, number, count)
    local wallet, reason = until_answered(call, values)
    if not silent then note(values, wallet, reason) end
    if wallet and pick(5) == 1 then
      wallet, reason = until_answered(call, values) -- a repeat
      if not silent then note(values, wallet, reason) end
    end
    return wallet ~= nil and values or nil
  end
  while task.monotonic_ms() < ends do
    local account, kind = accounts[pick(#accounts)], pick(12)
    local function any() return #done > 0 and done[pick(#done)] or nil end
    local values = { account = account, amount = pick(5 * CREDIT), reason = "fault", actor = "fault" }
    if kind <= 3 then
      values.type, values.bucket = kind == 3 and "promotion" or "purchase", kind == 3 and "bonus" or "paid"
      done[#done + 1] = go(billing.credit, values)
    elseif kind <= 6 then
      values.payee = model
      done[#done + 1] = go(billing.tip, values)
    elseif kind == 7 and any() then
      local of = any()
      go(billing.refund, { account = of.account, original = of.op, amount = pick(CREDIT), reason = "fault" })
    elseif kind == 8 and any() then
      local of = any()
      go(billing.reverse, { account = of.account, original = of.op, reason = "fault", actor = "fault" })
    elseif kind == 9 then
      values.seconds, values.payee = 20, model
      local hold = go(billing.hold, values, true)
      if hold and pick(3) > 1 then
        go(billing.capture, { account = account, original = hold.op, amount = pick(hold.amount), payee = model })
      elseif hold and pick(2) == 1 then
        until_answered(billing.release, { account = account, op = hold.op })
      end -- else the sweeper does
    elseif kind == 10 then
      values.amount = pick(2) == 1 and -values.amount or values.amount
      done[#done + 1] = go(billing.adjust, values)
    elseif kind == 11 then
      go(billing.grant, { account = account, seconds = pick(20), payee = model }, true)
    else
      count = count + 1
      local sid = ("f:%s:%d:%d"):format(run, number, count)
      local ok, opened = pcall(billing.open, { sid = sid, account = account, rate = pick(600) * CREDIT, payee = model,
        off = pick(2) == 1 and 2500 or 0 })
      for i = 1, ok and opened and pick(8) or 0 do
        billing.evidence(sid)
        if i == 3 then billing.pause(sid) elseif i == 5 then billing.resume(sid) end
        task.sleep(0.25)
      end
      if pick(4) > 1 then billing.close(sid, "done") end -- else its silence ends it
    end
    if #done > 50 then table.remove(done, 1) end
    task.sleep(pick(20) / 1000)
  end
end

-- Plays the broadcast through the media service, as a browser would, and leaves when it likes.
local function watcher(number, ends)
  local pick = choices(1000 + number)
  while task.monotonic_ms() < ends do
    local ticket = streaming.issue_ticket { account = accounts[pick(#accounts)], slug = slug, rate = 60 * CREDIT,
      limit = 0, policy = "paid", ttl = 60 }
    local outcome = process.run { "curl", "-s", "-m", tostring(pick(8)), "-o", "/dev/null", "-w", "%{size_download}",
      config.get "site.url" .. "/media/flv/" .. ticket }
    if outcome and (tonumber(outcome.output) or 0) > 1000 then watched = watched + 1 end
    task.sleep(pick(1000) / 1000)
  end
end

local function patiently(call)
  local limit = task.monotonic_ms() + SETTLE_SECONDS * 1000
  while true do
    local ok, result = pcall(call)
    if ok and result then return result end
    assert(task.monotonic_ms() < limit, "this did not come to rest: " .. tostring(result))
    task.sleep(0.5)
  end
end

describe("the house while its parts are killed and cut", function()
  setup(function()
    model = db.one "SELECT id, slug FROM model_profiles WHERE state = 'approved' ORDER BY id LIMIT 1"
    model, slug = model.id, model.slug
    for i = 1, ACCOUNTS do
      accounts[i] = (select(2, db.exec([[
        INSERT INTO accounts (name, state, role_id) SELECT ?, 'active', id FROM roles ORDER BY id LIMIT 1]],
        ("f%s%d"):format(run, i))))
    end
    io.stdout:write "ready\n" -- what attacks waits for this
    io.stdout:flush()
  end)

  it("loses no credit, makes none up and takes none twice", function()
    testing.expect_log "."
    local ends, tasks = task.monotonic_ms() + seconds * 1000, {}
    for i = 1, CLIENTS do tasks[#tasks + 1] = task.spawn(client, i, ends) end
    for i = 1, WATCHERS do tasks[#tasks + 1] = task.spawn(watcher, i, ends) end
    task.wait_all(tasks)

    -- Everything is up again: what nobody ended is ended by the sweeper, and booked.
    for _, account in ipairs(accounts) do
      local wallet = patiently(function()
        local now = billing.wallet(account)
        return now.held == 0 and ledger.wallet(account).seq == now.seq and now
      end)
      local booked = ledger.wallet(account)
      assert.equal(wallet.seq, booked.changes)
      assert.equal(wallet.paid + wallet.bonus, booked.paid + booked.bonus)
      assert.equal(wallet.debt, booked.debt)
      assert.is_true(wallet.paid >= 0 and wallet.bonus >= 0)
    end
    local found = 0
    for _, row in ipairs(db.rows([[
      SELECT idem_key, account_id, type, CAST(JSON_VALUE(detail, '$.paid') AS SIGNED) AS paid,
             CAST(JSON_VALUE(detail, '$.bonus') AS SIGNED) AS bonus
      FROM ledger_txns WHERE idem_key LIKE ? AND type <> 'grant']], ("f:%s:%%"):format(run))) do
      local answer = answers[row.idem_key]
      assert.is_table(answer, row.idem_key .. " is booked, but was refused: " .. tostring(refused[row.idem_key]))
      assert.same({ answer.account, answer.paid, answer.bonus }, { row.account_id, row.paid, row.bonus })
      found = found + 1
    end
    local expected, refusals = 0, 0
    for _ in pairs(answers) do expected = expected + 1 end
    for _ in pairs(refused) do refusals = refusals + 1 end
    assert.equal(expected, found)
    assert.same({}, ledger.unbalanced(5))
    assert.same({}, ledger.wrong_balances(5))
    assert.same({}, ledger.quarantined(5))
    for shard = 0, 15 do assert.is_nil((select(2, proof.verify(shard)))) end
    local sessions = db.one([[
      SELECT COUNT(DISTINCT ref_id) AS count FROM ledger_txns WHERE type = 'meter_close' AND account_id IN (
        SELECT id FROM accounts WHERE name LIKE ?)]], "f" .. run .. "%").count
    io.stdout:write(("house: seed %d, %d calls, %d of them without an answer, %d operations done, %d refused, "
      .. "%d sessions, %d of them watched through media\n"):format(seed, sent, lost, expected, refusals, sessions, watched))
  end)
end)
