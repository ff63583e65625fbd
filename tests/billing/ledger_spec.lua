-- From wallets in Redis to lines in MariaDB: what is booked, once, and that it sums to zero.
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local ledger = require "store.ledger"
local support = dofile(config.root .. "/tests/billing/support.lua")

local CREDIT, make_account, make_model, flush, op = support.CREDIT, support.account, support.model, support.flush, support.op

local function kind_sums(account)
  local sums = {}
  for _, row in ipairs(db.rows([[
    SELECT w.owner_type, w.kind, CAST(SUM(e.amount) AS SIGNED) AS sum
    FROM ledger_txns t JOIN ledger_entries e ON e.txn_id = t.id JOIN wallets w ON w.id = e.wallet_id
    WHERE t.account_id = ? GROUP BY w.owner_type, w.kind]], account)) do
    sums[row.kind] = row.sum
  end
  return sums
end

describe("the ledger", function()
  local viewer, model

  before_each(function()
    viewer = make_account()
    model = make_model(make_account())
  end)

  after_each(function()
    flush()
    assert.same({}, ledger.unbalanced(5))
    assert.same({}, ledger.wrong_balances(5))
    local wallet, booked = billing.wallet(viewer), ledger.wallet(viewer)
    assert.equal(wallet.seq, booked.seq)
    assert.equal(wallet.seq, booked.changes)
    assert.equal(wallet.paid + wallet.bonus + wallet.held, booked.paid + booked.bonus)
    assert.equal(wallet.debt, booked.debt)
  end)

  it("books a purchase, a promotion and a tip with the model's share", function()
    billing.credit { op = op "buy", account = viewer, amount = 10 * CREDIT, bucket = "paid", type = "purchase" }
    billing.credit { op = op "gift", account = viewer, amount = 2 * CREDIT, bucket = "bonus", type = "promotion" }
    local tip = op "tip"
    local result = billing.tip { op = tip, account = viewer, amount = 5 * CREDIT, payee = model,
      message = "hé", anonymous = true, slug = "x" }
    assert.equal(-2 * CREDIT, result.bonus_change)
    flush()
    assert.same({ viewer_paid = 7 * CREDIT, viewer_promo = 0, provider_clearing = -10 * CREDIT,
      promo_expense = -2 * CREDIT, model_pending = 2500000, site_revenue = 2500000 }, kind_sums(viewer))
    local row = db.one("SELECT t.model_id, t.amount, t.anonymous, t.message FROM tips t JOIN ledger_txns l ON l.id = t.ledger_txn_id WHERE l.idem_key = ?", tip)
    assert.same({ model_id = model, amount = 5 * CREDIT, anonymous = 1, message = "hé" }, row)
  end)

  it("books a refund as the mirror of its sale", function()
    billing.credit { op = op "buy", account = viewer, amount = 3, bucket = "paid", type = "purchase" }
    local tip = op "tip"
    billing.tip { op = tip, account = viewer, amount = 3, payee = model }
    billing.refund { op = op "back", account = viewer, original = tip, reason = "sorry", actor = "account:1" }
    flush()
    local sums = kind_sums(viewer)
    assert.equal(3, sums.viewer_paid)
    assert.equal(0, sums.model_pending)
    assert.equal(0, sums.site_revenue)
  end)

  it("books a chargeback as debt that the next purchase repays", function()
    billing.credit { op = op "buy", account = viewer, amount = 5, bucket = "paid", type = "purchase" }
    billing.tip { op = op "tip", account = viewer, amount = 4, payee = model }
    billing.chargeback { op = op "bank", account = viewer, amount = 5 }
    flush()
    assert.equal(-4, kind_sums(viewer).viewer_debt)
    billing.credit { op = op "buy2", account = viewer, amount = 6, bucket = "paid", type = "purchase" }
    flush()
    assert.equal(0, kind_sums(viewer).viewer_debt)
    assert.equal(2, kind_sums(viewer).viewer_paid)
  end)

  it("books a metered session by its ticks and its close", function()
    billing.credit { op = op "buy", account = viewer, amount = 10 * CREDIT, bucket = "paid", type = "purchase" }
    local sid = "w:" .. crypto.random_token(12)
    local opened = billing.open { sid = sid, account = viewer, rate = 60 * CREDIT, payee = model, minimum = 2 * CREDIT }
    assert.is_true(opened.deadline_ms > 0)
    billing.close(sid, "done")
    billing.wallet(viewer) -- the answer comes behind that of the close
    flush()
    local txn = db.one("SELECT type, ref_type, ref_id, reason FROM ledger_txns WHERE account_id = ? ORDER BY wseq DESC LIMIT 1", viewer)
    assert.same({ type = "meter_close", ref_type = "session", ref_id = sid, reason = "done" }, txn)
  end)

  it("books nothing twice, whatever is replayed", function()
    billing.credit { op = op "buy", account = viewer, amount = 7, bucket = "paid", type = "purchase" }
    local shard = billing.shard(viewer)
    local cursor = ledger.cursors()[shard]
    local entries, epoch = billing.outbox.read(shard, cursor.stream_ms, cursor.stream_n, 100)
    assert.equal(1, #entries)
    assert.same({ booked = 1, duplicates = 0, quarantined = 0 }, ledger.book(shard, epoch, entries))
    -- Not trimmed: the same entries come again, and lie behind the cursor now.
    assert.same({ booked = 0, duplicates = 0, quarantined = 0 }, ledger.book(shard, epoch, entries))
    -- The same entry at a later place in the stream: known by its key.
    entries[1].stream_ms = entries[1].stream_ms + 1
    assert.same({ booked = 0, duplicates = 1, quarantined = 0 }, ledger.book(shard, epoch, entries))
    db.exec("UPDATE ledger_cursors SET stream_ms = ?, stream_n = ? WHERE shard = ?", entries[1].stream_ms - 1,
      entries[1].stream_n, shard)
  end)

  it("sets aside what contradicts the books, and goes on", function()
    local first = op "buy"
    billing.credit { op = first, account = viewer, amount = 7, bucket = "paid", type = "purchase" }
    flush()
    local shard = billing.shard(viewer)
    local cursor = ledger.cursors()[shard]
    local entry = { op = first, account = viewer, seq = 1, type = "purchase", paid = 8, bonus = 0, debt = 0,
      at = 1700000000000, stream_ms = cursor.stream_ms, stream_n = cursor.stream_n + 1 }
    local counts = ledger.book(shard, cursor.epoch, { entry })
    assert.same({ booked = 0, duplicates = 0, quarantined = 1 }, counts)
    local row = db.one("SELECT reason FROM ledger_quarantine WHERE shard = ? AND stream_ms = ? AND stream_n = ?",
      shard, entry.stream_ms, entry.stream_n)
    assert.matches("contradicts", row.reason)
    entry.stream_n, entry.type, entry.op, entry.seq = entry.stream_n + 1, "witchcraft", op "w", 99
    assert.equal(1, ledger.book(shard, cursor.epoch, { entry }).quarantined)
    entry.stream_n, entry.type, entry.account = entry.stream_n + 1, "purchase", 4000000000
    assert.equal(1, ledger.book(shard, cursor.epoch, { entry }).quarantined)
    assert.equal(7, kind_sums(viewer).viewer_paid)
    -- What this test made up is not what other tests should find.
    db.exec("UPDATE ledger_quarantine SET solved_at = UTC_TIMESTAMP(6), solution = 'a test' WHERE shard = ? AND stream_ms = ?",
      shard, entry.stream_ms)
    db.exec("UPDATE ledger_cursors SET stream_ms = ?, stream_n = ? WHERE shard = ?", cursor.stream_ms,
      cursor.stream_n, shard)
  end)

  it("raises when a credit is refused, and gives the reason when a tip is", function()
    assert.has_error(function() billing.credit { op = op "x", account = viewer, amount = 0 } end)
    assert.has_error(function() billing.credit { op = op "x", account = viewer, amount = 1.5 } end)
    local result, reason = billing.tip { op = op "x", account = viewer, amount = 1, payee = model }
    assert.is_nil(result)
    assert.equal("no_funds", reason)
  end)
end)
