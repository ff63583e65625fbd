-- A month of random activity, put through the functions inside Redis with a clock of its own. What the replies
-- said, what statements say, and what one SQL query makes of the transactions must be the same, to the last
-- micro-credit. A failure prints its seed; FOOTLIGHT_SEED=N plays it again.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local flow = require "site.payouts.flow"
local flusher = require "jobs.ledger"
local json = require "runtime.json"
local ledger = require "store.ledger"
local payouts = require "store.payouts"
local people = dofile(config.root .. "/tests/site/people.lua")
local periods = require "store.ledger_periods"
local process = require "runtime.process"
local proof = require "store.ledger_proof"

local CREDIT, DAY_MS = 1000000, 86400000
local VIEWERS, STEPS = 12, 60

-- The month before this one.
local function last_month()
  local today = os.date "!*t"
  return os.date("!%Y-%m", os.time { year = today.year, month = today.month - 1, day = 15, hour = 12 })
end

local function generator(seed)
  return function(most)
    seed = (seed * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return (seed >> 20) % most
  end
end

-- Writes commands for redis-cli, each with the account that it is about and how its answer is to be read.
local function script_of(accounts, models, seed, first, prefix)
  local random, lines, kinds = generator(seed), {}, {}
  local span = 27 * DAY_MS // STEPS
  local function call(account, kind, name, keys, arguments, now)
    local words = { "FCALL", name, #keys }
    for _, key in ipairs(keys) do words[#words + 1] = key end
    for _, value in ipairs(arguments) do words[#words + 1] = value == "" and '""' or value end
    words[#words + 1] = now
    lines[#lines + 1] = table.concat(words, " ")
    kinds[#kinds + 1] = { account = account, kind = kind }
    -- Now and then a caller does not hear the answer, and asks again.
    if random(8) == 0 then
      lines[#lines + 1] = lines[#lines]
      kinds[#kinds + 1] = kinds[#kinds]
    end
  end
  for step = 1, STEPS do
    for number, account in ipairs(accounts) do
      local shard = ("b:{%02d}:"):format(billing.shard(account))
      local wallet, out, due, epoch = shard .. "w:" .. account, shard .. "out", shard .. "due", shard .. "epoch"
      local now = first + (step - 1) * span + random(span // 2)
      local name = ("%s:%d:%d"):format(prefix, number, step)
      local before = ("%s:%d:%d"):format(prefix, number, 1 + random(step))
      local model = models[1 + random(#models)]
      local function operation(fn, arguments, original)
        local keys = { wallet, out, shard .. "i:" .. name }
        if original then
          keys[4], keys[5] = shard .. "i:" .. original, shard .. "s:" .. original
        end
        call(account, "wallet", fn, keys, arguments, now)
      end
      local what = random(100)
      if what < 18 then
        operation("fl_credit", { account, name, 1 + random(60 * CREDIT), "paid", "purchase", "", "system", "" })
      elseif what < 24 then
        operation("fl_credit", { account, name, 1 + random(9 * CREDIT), "bonus", "promotion", "", "system", "" })
      elseif what < 45 then
        operation("fl_debit", { account, name, 1 + random(5 * CREDIT), model, "tip", "", "system", "" })
      elseif what < 50 then
        operation("fl_refund", { account, name, random(2) == 0 and 0 or 1 + random(CREDIT), before, "", "system" }, before)
      elseif what < 53 then
        operation("fl_reverse", { account, name, before, "", "system" }, before)
      elseif what < 57 then
        operation("fl_adjust", { account, name, random(2) == 0 and 1 + random(CREDIT) or -1 - random(CREDIT), "paid",
          "spec", "command" })
      elseif what < 59 then
        operation("fl_chargeback", { account, name, 1 + random(40 * CREDIT), "", "system" })
      elseif what < 66 then
        operation("fl_freeze", { account, name, "0", "", "system" })
      else
        local keys = { shard .. "s:" .. name, wallet, due, out, epoch }
        call(account, "open", "fl_open", { keys[1], wallet, due }, { account, name, 1 + random(90 * CREDIT),
          random(3) == 0 and 60 or 1, random(2) * random(CREDIT), random(15), 0, 10, model,
          random(4) == 0 and random(9999) or 0 }, now)
        local at = now
        for _ = 1, random(14) do
          at = at + 9000 + random(2000)
          call(account, "meter", "fl_tick", keys, { account, name, random(3000) }, at)
        end
        call(account, "meter", "fl_close", keys, { account, name, random(5000), "", "viewer" }, at + 1000 + random(8000))
      end
    end
  end
  return lines, kinds
end

-- What each wallet gained in all, as the answers say.
local function play(lines, kinds)
  local socket = config.get("redis.money.address"):match "^unix:(.+)$"
  local outcome = assert(process.run { "redis-cli", "--json", "-s", socket, input = table.concat(lines, "\n") .. "\n",
    output_most = 64 * 1024 * 1024, limit = 120 })
  assert.equal(0, outcome.status, outcome.errors)
  local gained, i, refused = {}, 0, 0
  for line in outcome.output:gmatch "[^\n]+" do
    i = i + 1
    local reply, what = json.decode(line), kinds[i]
    local sum = gained[what.account] or 0
    if type(reply) ~= "table" or reply[1] == nil then
      refused = refused + 1
    elseif what.kind == "wallet" and reply[10] == 0 then
      sum = sum + reply[7] + reply[8] - reply[9]
    elseif what.kind == "meter" then
      sum = sum - reply[7] - reply[8]
    end
    gained[what.account] = sum
  end
  assert.equal(#lines, i)
  return gained, refused
end

-- Every account's and every model's month, from the transactions' own words and the history of the splits: no
-- wallets, no entries, no balances, and none of the code that books.
local independent = [[
  WITH sales AS (
    SELECT CAST(JSON_VALUE(t.detail, '$.payee') AS UNSIGNED) AS model,
      CASE WHEN t.ref_type = 'session' OR t.type IN ('refund', 'reversal') THEN t.ref_id ELSE t.idem_key END AS sale,
      MIN(COALESCE(JSON_VALUE(t.detail, '$.ref_at'), ROUND(UNIX_TIMESTAMP(t.occurred_at) * 1000))) AS at,
      CAST(-SUM(JSON_VALUE(t.detail, '$.paid')) AS SIGNED) AS paid,
      CAST(-SUM(JSON_VALUE(t.detail, '$.bonus')) AS SIGNED) AS bonus
    FROM ledger_txns t
    WHERE JSON_VALUE(t.detail, '$.payee') IN (%s) AND t.occurred_at >= ? AND t.occurred_at < ?
    GROUP BY model, sale),
  shares AS (
    SELECT s.model, s.paid, s.bonus,
      COALESCE((SELECT r.paid_bp FROM revenue_splits r WHERE r.model_id = s.model
                AND r.valid_from <= FROM_UNIXTIME(s.at / 1000) ORDER BY r.valid_from DESC LIMIT 1), ?) AS paid_bp,
      COALESCE((SELECT r.promo_bp FROM revenue_splits r WHERE r.model_id = s.model
                AND r.valid_from <= FROM_UNIXTIME(s.at / 1000) ORDER BY r.valid_from DESC LIMIT 1), ?) AS promo_bp
    FROM sales s)
  SELECT 'model' AS owner, model AS id,
    CAST(SUM(paid * paid_bp DIV 10000 + bonus * promo_bp DIV 10000) AS SIGNED) AS gained FROM shares GROUP BY model
  UNION ALL
  SELECT 'account', t.account_id, CAST(SUM(JSON_VALUE(t.detail, '$.paid') + JSON_VALUE(t.detail, '$.bonus')
    - JSON_VALUE(t.detail, '$.debt')) AS SIGNED)
  FROM ledger_txns t WHERE t.account_id IN (%s) AND t.occurred_at >= ? AND t.occurred_at < ? GROUP BY t.account_id]]

describe("the statements of a month of random activity", function()
  it("agree with the answers that were given and with an independent SQL query, to the last micro-credit", function()
    local seed = math.tointeger(tonumber(os.getenv "FOOTLIGHT_SEED")) or crypto.random_below(1000000000)
    local month = last_month()
    local from, to = periods.bounds(month)
    local first = db.one("SELECT CAST(UNIX_TIMESTAMP(?) * 1000 AS SIGNED) AS ms", from).ms + DAY_MS // 2
    local accounts, models = {}, {}
    for i = 1, VIEWERS do accounts[i] = people.account().id end
    for i = 1, 3 do models[i] = people.model().id end
    -- The second has shares of her own from the middle of the month, the third other ones for a week.
    for _, split in ipairs { { models[2], 15, 7300, 1 }, { models[3], 8, 9999, 6667 }, { models[3], 15, 3333, 0 } } do
      db.exec([[
        INSERT INTO revenue_splits (model_id, valid_from, paid_bp, promo_bp, reason, actor)
        VALUES (?, ? + INTERVAL ? DAY, ?, ?, 'spec', 'spec')]], split[1], from, split[2], split[3], split[4])
    end
    while flusher.flush() > 0 do end
    local lines, kinds = script_of(accounts, models, seed, first, "st" .. crypto.random_token(9):gsub("[^%w]", "x"))
    local gained, refused = play(lines, kinds)
    local told = ("seed %d, %d operations, %d refused"):format(seed, #lines, refused)
    assert.is_true(#lines > 2500 and refused < #lines // 2, told)
    while flusher.flush() > 0 do end
    assert.same({}, ledger.quarantined(5), told)

    local default = ledger.splits()(first)
    local recomputed = { account = {}, model = {} }
    for _, row in ipairs(db.rows(independent:format(table.concat(models, ","), table.concat(accounts, ",")), from, to,
      default.paid_bp, default.promo_bp, from, to)) do
      recomputed[row.owner][row.id] = row.gained
    end
    for _, account in ipairs(accounts) do
      local statement, wallet, sum = proof.statement("account", account, from, to), billing.wallet(account), 0
      for _, line in ipairs(statement.lines) do sum = sum + line.amount end
      assert.same({ 0, gained[account], gained[account], gained[account] },
        { statement.opening, statement.closing, sum, recomputed.account[account] }, told)
      assert.equal(wallet.paid + wallet.bonus + wallet.held - wallet.debt, statement.closing, told)
    end
    local earned = 0
    for _, model in ipairs(models) do
      local statement, sum = proof.statement("model", model, from, to), 0
      for _, line in ipairs(statement.lines) do sum = sum + line.amount end
      assert.same({ 0, recomputed.model[model], recomputed.model[model] },
        { statement.opening, statement.closing, sum }, told)
      earned = earned + sum
      -- What the model gets in writing says the same.
      flow.close_month(model, month)
      local total = 0
      local written = json.decode(payouts.statement(payouts.statements(model, 1)[1].id).totals)
      for _, row in pairs(written.model_pending) do total = total + row.amount end
      assert.equal(sum, total, told)
    end
    assert.is_true(earned > 100 * CREDIT, told)
    assert.same({}, ledger.unbalanced(5), told)
    assert.same({}, ledger.wrong_balances(5), told)
  end)
end)
