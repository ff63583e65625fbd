-- What goes beyond buying and spending: free seconds, daily limits, adjustments, reversals, late refunds,
-- shares of single models, closed months, reconciliation without an end.
local billing = require "runtime.billing"
local command = require "commands.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local json = require "runtime.json"
local ledger = require "store.ledger"
local legs = require "store.ledger_legs"
local periods = require "store.ledger_periods"
local proof = require "store.ledger_proof"
local reconcile = require "jobs.reconcile"
local reconciliation = require "store.reconciliation"
local refunds = require "store.ledger_refunds"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/billing/support.lua")

local CREDIT, make_account, make_model, flush, op = support.CREDIT, support.account, support.model, support.flush, support.op

local function sums_of(account)
  local sums = {}
  for _, row in ipairs(db.rows([[
    SELECT w.kind, CAST(SUM(e.amount) AS SIGNED) AS sum
    FROM ledger_txns t JOIN ledger_entries e ON e.txn_id = t.id JOIN wallets w ON w.id = e.wallet_id
    WHERE t.account_id = ? GROUP BY w.kind]], account)) do
    sums[row.kind] = row.sum
  end
  return sums
end

describe("the ledger's corrections", function()
  local viewer, model

  before_each(function()
    flush()
    viewer = make_account()
    model = make_model(make_account())
  end)

  after_each(function()
    flush()
    assert.same({}, ledger.unbalanced(5))
    assert.is_nil((reconciliation.compare(billing.wallet(viewer))))
  end)

  it("books adjustments of both signs, with their reason and actor", function()
    local values = { op = op "plus", account = viewer, amount = 7, reason = "sorry", actor = "account:1" }
    billing.adjust(values)
    values.op, values.amount, values.reason = op "minus", -3, "too much"
    assert.equal(4, billing.adjust(values).paid)
    values.op, values.amount = op "more", -5
    assert.same({ n = 2, nil, "no_funds" }, table.pack(billing.adjust(values)))
    flush()
    assert.same({ viewer_paid = 4, adjustments = -4 }, sums_of(viewer))
    local row = db.one("SELECT type, actor, reason FROM ledger_txns WHERE account_id = ? ORDER BY wseq DESC LIMIT 1", viewer)
    assert.same({ type = "adjustment", actor = "account:1", reason = "too much" }, row)
    values.actor = nil
    assert.has_error(function() billing.adjust(values) end)
  end)

  it("books a reversal as the mirror of what it undoes, and says which", function()
    local buy, tip, undo = op "buy", op "tip", op "undo"
    billing.credit { op = buy, account = viewer, amount = 9, bucket = "paid", type = "purchase" }
    billing.tip { op = tip, account = viewer, amount = 5, payee = model }
    assert.same({ n = 2, nil, "no_funds" }, table.pack(billing.reverse { op = op "x", account = viewer, original = buy }))
    assert.equal(9, billing.reverse { op = undo, account = viewer, original = tip, reason = "wrong room", actor = "account:1" }.paid)
    assert.same({ n = 2, nil, "not_refundable" }, table.pack(billing.refund { op = op "y", account = viewer, original = tip }))
    billing.reverse { op = op "z", account = viewer, original = buy }
    flush()
    for kind, sum in pairs(sums_of(viewer)) do assert.equal(0, sum, kind) end
    assert.equal(tip, db.one([[
      SELECT o.idem_key AS op FROM ledger_txns t JOIN ledger_txns o ON o.id = t.reverses_id
      WHERE t.idem_key = ?]], undo).op)
  end)

  it("grants free seconds and limits days without a line that moves credits", function()
    billing.grant { op = op "g", account = viewer, seconds = 60, payee = model, reason = "welcome" }
    billing.limit { op = op "l", account = viewer, whose = "site", seconds = 3600 }
    local wallet = billing.limit { op = op "m", account = viewer, whose = "own", seconds = 1800, actor = "viewer" }
    local allowance = billing.allowance(viewer)
    assert.same({ 3600, 1800, 60, 0 },
      { allowance.site_limit, allowance.own_limit, allowance.granted, allowance.watched_ms })
    local sid = "w:" .. crypto.random_token(12)
    assert.is_table(billing.open { sid = sid, account = viewer, rate = 60 * CREDIT, payee = model, off = 2500 })
    assert.equal(50, billing.allowance(viewer).granted) -- ten are in the lease
    billing.close(sid, "done")
    billing.wallet(viewer)
    assert.is_true(billing.allowance(viewer).granted >= 59)
    flush()
    assert.same({}, sums_of(viewer))
    assert.is_true(ledger.wallet(viewer).seq > wallet.seq)
  end)

  it("refunds what Redis has forgotten, from the ledger, and no more than is left", function()
    billing.credit { op = op "buy", account = viewer, amount = 10, bucket = "paid", type = "purchase" }
    flush()
    local old, shard = op "old", billing.shard(viewer)
    -- A sale of last year, as it stands in the ledger. Redis is told the wallet's numbers, not the sale.
    local cursor = ledger.cursors()[shard]
    ledger.book(shard, cursor.epoch, { { op = old, account = viewer, seq = 2, type = "tip", paid = -6, bonus = 0,
      debt = 0, payee = model, at = 1700000000000, stream_ms = cursor.stream_ms, stream_n = cursor.stream_n + 1 } })
    billing.restore { account = viewer, paid = 4, bonus = 0, debt = 0, seq = 2, frozen = false, epoch = cursor.epoch }
    local values = { op = op "back", account = viewer, original = old, amount = 2 }
    assert.same({ n = 2, nil, "no_original" }, table.pack(billing.refund(values)))
    assert.equal(6, refunds.refund(values).paid)
    values.op, values.amount = op "back2", 5
    assert.same({ n = 2, nil, "too_much" }, table.pack(refunds.refund(values)))
    values.op, values.amount = op "back3", nil
    assert.equal(10, refunds.refund(values).paid)
    flush()
    values.op, values.original = op "back4", op "never"
    assert.same({ n = 2, nil, "no_original" }, table.pack(refunds.refund(values)))
    flush()
    assert.equal(0, sums_of(viewer).model_pending)
  end)

  it("pays a model her own share from the moment it was set", function()
    billing.credit { op = op "buy", account = viewer, amount = 1000, bucket = "paid", type = "purchase" }
    billing.tip { op = op "before", account = viewer, amount = 100, payee = model }
    periods.set_split(model, 7500, nil, "command", "a good year")
    task.sleep(0.002) -- Redis tells times in whole milliseconds: the one in which it was set counts as before
    billing.tip { op = op "after", account = viewer, amount = 100, payee = model }
    flush()
    assert.equal(50 + 75, sums_of(viewer).model_pending)
    local statement = proof.statement("model", model, "2000-01-01", "2999-01-01")
    assert.equal(125, statement.closing)
    assert.has_error(function() periods.set_split(model, 10001, nil, "command", "x") end)
  end)

  it("counts the millisecond in which a share was set as before", function()
    local ms = 1767225600123
    for _, microseconds in ipairs { 0, 400, 600, 999 } do
      local other = make_model(make_account())
      db.exec([[
        INSERT INTO revenue_splits (model_id, valid_from, paid_bp, promo_bp, reason, actor)
        VALUES (?, FROM_UNIXTIME(?) + INTERVAL ? MICROSECOND, 7500, NULL, 'a good year', 'spec')]],
        other, ms // 1000, ms % 1000 * 1000 + microseconds)
      local splits = ledger.splits()
      assert.equal(5000, splits(ms, other).paid_bp)
      assert.equal(7500, splits(ms + 1, other).paid_bp)
    end
  end)

  it("gives the same share of a session however it was cut into charges and refunds", function()
    math.randomseed(7)
    for _ = 1, 200 do
      local bp, total, given, refunded = math.random(0, 10000), 0, 0, 0
      local function book(kind, paid)
        local list = legs.of({ account = 1, payee = 5, type = kind, paid = paid, bonus = 0, debt = 0,
          total_paid = total - refunded, total_bonus = 0 }, { paid_bp = bp, promo_bp = bp })
        for _, leg in ipairs(list) do
          if leg.kind == "model_pending" then given = given + leg.amount end
        end
      end
      for _ = 1, math.random(1, 60) do
        local charge = math.random(1, 99999)
        total = total + charge
        book("meter", -charge)
      end
      assert.equal(total * bp // 10000, given)
      for _ = 1, math.random(0, 5) do
        local back = math.random(1, 9999)
        if refunded + back <= total then
          refunded = refunded + back
          book("refund", back)
        end
      end
      assert.equal((total - refunded) * bp // 10000, given)
    end
  end)

  it("agrees with an independent query over a month of random activity", function()
    math.randomseed(11)
    billing.credit { op = op "buy", account = viewer, amount = 100 * CREDIT, bucket = "paid", type = "purchase" }
    billing.credit { op = op "gift", account = viewer, amount = 30 * CREDIT, bucket = "bonus", type = "promotion" }
    local tips = {}
    for i = 1, 60 do
      local key = op("r" .. i)
      if i % 3 > 0 or #tips == 0 then
        if billing.tip { op = key, account = viewer, amount = math.random(1, 3999999), payee = model } then
          tips[#tips + 1] = key
        end
      else
        billing.refund { op = key, account = viewer, original = tips[math.random(#tips)], amount = math.random(1, 99999) }
      end
    end
    flush()
    -- By sale: what it took, less what came back, by bucket, halved and rounded down.
    local shares = db.one([[
      SELECT CAST(SUM(FLOOR(s.paid * 5000 / 10000) + FLOOR(s.bonus * 5000 / 10000)) AS SIGNED) AS model FROM (
        SELECT COALESCE(IF(type = 'refund', ref_id, NULL), idem_key) AS sale,
               -SUM(JSON_VALUE(detail, '$.paid')) AS paid, -SUM(JSON_VALUE(detail, '$.bonus')) AS bonus
        FROM ledger_txns WHERE account_id = ? AND type IN ('tip', 'refund') GROUP BY sale) AS s]], viewer)
    assert.equal(shares.model, proof.statement("model", model, "2000-01-01", "2999-01-01").closing)
    local wallet = billing.wallet(viewer)
    assert.equal(wallet.paid + wallet.bonus, proof.statement("account", viewer, "2000-01-01", "2999-01-01").closing)
  end)

  it("closes a month: nothing is booked into it any more, whoever tries", function()
    -- January 2000 stays closed in this database; nothing is of that time.
    local row, reason = periods.close("2000-01", "spec")
    assert.is_true(row ~= nil or reason == "it is closed already", reason)
    assert.same({ n = 2, nil, "the month is not over" }, table.pack(periods.close("2999-01", "spec")))
    assert.same({ n = 2, nil, "a month is written YYYY-MM" }, table.pack(periods.close("2000-13", "spec")))
    local shard = billing.shard(viewer)
    local cursor = ledger.cursors()[shard]
    local entry = { op = op "late", account = viewer, seq = 1, type = "purchase", paid = 8, bonus = 0, debt = 0,
      at = 947000000000, stream_ms = cursor.stream_ms, stream_n = cursor.stream_n + 1 }
    assert.equal(1, ledger.book(shard, cursor.epoch, { entry }).quarantined)
    assert.same({ n = 2, nil, "1 entries in quarantine are not decided" }, table.pack(periods.close("2000-02", "spec")))
    db.exec("UPDATE ledger_quarantine SET solved_at = UTC_TIMESTAMP(6), solution = 'a test' WHERE shard = ? AND stream_ms = ?",
      shard, entry.stream_ms)
    db.exec("UPDATE ledger_cursors SET stream_ms = ?, stream_n = ? WHERE shard = ?", cursor.stream_ms,
      cursor.stream_n, shard)
    local sql = "INSERT INTO ledger_txns (idem_key, type, occurred_at) VALUES (?, 'freeze', ?)"
    pcall(db.transaction, function(tx)
      assert.is_table(periods.close_in(tx, "2000-02", "spec"))
      assert.is_false((pcall(tx.exec, sql, op "trigger", "2000-02-29 23:59:59")))
      assert.equal(1, (tx.exec(sql, op "trigger", "2000-03-01")))
      row = "reached"
      error "February opens again"
    end)
    assert.equal("reached", row)
  end)

  it("compares without an end, and names what differs", function()
    billing.credit { op = op "buy", account = viewer, amount = 5, type = "purchase" }
    flush()
    -- Two turns through all wallets: the first may have begun in the middle.
    local function compare_all()
      local count, ended
      for _ = 1, 2 do
        repeat count, ended = reconcile.step(100000) until ended
      end
      return count
    end
    local before = compare_all()
    local shard = billing.shard(viewer)
    local cursor = ledger.cursors()[shard]
    testing.expect_log "reconcile.difference"
    -- The ledger has a change that Redis has not.
    ledger.book(shard, cursor.epoch, { { op = op "ghost", account = viewer, seq = 2, type = "purchase", paid = 4,
      bonus = 0, debt = 0, at = 1700000000000, stream_ms = cursor.stream_ms, stream_n = cursor.stream_n + 1 } })
    assert.equal(before + 1, compare_all())
    billing.restore { account = viewer, paid = 9, bonus = 0, debt = 0, seq = 2, frozen = false, epoch = cursor.epoch }
    assert.equal(before, compare_all())
  end)

  it("finds transactions that do not sum to zero and balances that their entries do not give", function()
    local before = db.one("SELECT CAST(COALESCE(MAX(id), 0) AS SIGNED) AS id FROM ledger_txns").id
    local found
    pcall(db.transaction, function(tx)
      local _, txn = tx.exec("INSERT INTO ledger_txns (idem_key, type, occurred_at) VALUES (?, 'tip', UTC_TIMESTAMP(6))",
        op "lopsided")
      tx.exec([[
        INSERT INTO ledger_entries (txn_id, wallet_id, seq, amount, balance_after)
        SELECT ?, b.wallet_id, b.version + 1, 5, b.balance + 5 FROM wallet_balances b JOIN wallets w ON w.id = b.wallet_id
        WHERE w.kind = 'adjustments']], txn)
      local unbalanced, last = reconciliation.unbalanced(before, 100, tx)
      local drifted, after = reconciliation.drifted(0, 100000, tx)
      found = { unbalanced = unbalanced, last = last == txn, drifted = drifted, after = after }
      error "nothing of this is kept"
    end)
    assert.same({ 1, "CRD", 5, true }, { #found.unbalanced, found.unbalanced[1].currency, found.unbalanced[1].sum, found.last })
    assert.same({ 1, "adjustments", 0 }, { #found.drifted, found.drifted[1].kind, found.after })
    assert.same({ {}, before }, { reconciliation.unbalanced(before, 100) })
    assert.same({}, (reconciliation.drifted(0, 100000)))
  end)

  it("counts no shard as behind after a rebuild", function()
    billing.credit { op = op "buy", account = viewer, amount = 5, type = "purchase" }
    flush()
    local shard = billing.shard(viewer)
    local cursor = ledger.cursors()[shard]
    ledger.book(shard, cursor.epoch, { { op = op "lost", account = viewer, seq = 2, type = "purchase", paid = 4,
      bonus = 0, debt = 0, at = 1700000000000, stream_ms = cursor.stream_ms + 3600000, stream_n = 0 } })
    local function behind()
      local function quiet() end
      local found
      local streams = { stdout = { write = function(_, text) found = text end }, stderr = { write = quiet } }
      command.run({ "reconcile", "--wait", "0", "--json" }, streams)
      for _, number in ipairs(json.decode(found).shards_behind) do
        if number == shard then return true end
      end
      return false
    end
    assert.is_true(behind())
    local sink = { write = function() end }
    assert.equal(0, command.run({ "rebuild" }, { stdout = sink, stderr = sink }))
    assert.is_false(behind())
    assert.equal(9, billing.wallet(viewer).paid)
  end)
end)
