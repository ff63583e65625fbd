-- The stores: what they promise to the pages, the commands and the jobs.
local accounts = require "store.accounts"
local audit = require "store.audit"
local billing = require "runtime.billing"
local broadcasts = require "store.broadcasts"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local models = require "store.models"
local orders = require "store.orders"
local outbox = require "store.outbox"
local packs = require "store.packs"
local payments = require "store.payments"
local rooms = require "store.rooms"
local sessions = require "store.sessions"
local stream_keys = require "store.stream_keys"

-- Names of this run only: the database may hold other people.
local function fresh(prefix) return prefix .. crypto.hex(crypto.random_bytes(4)) end
local function account_of(values)
  values = values or {}
  values.name = values.name or fresh("t_")
  return accounts.create(values)
end
local function model_of(state)
  local account = account_of { state = "active" }
  local slug = fresh("m-")
  local id = models.create { account_id = account.id, slug = slug, state = "submitted" }
  if state == "approved" then
    assert.is_true(models.move { id = id, version = 1, from = "submitted", to = "approved" })
  end
  return models.by_id(id), account
end
local function waiting_for(kind, field, value)
  return db.one([[
    SELECT COUNT(*) AS count FROM outbox WHERE kind = ? AND JSON_VALUE(payload, ?) = ?]],
    kind, "$." .. field, value).count
end

describe("store.accounts", function()
  it("finds an account by name, id and any spelling of its address", function()
    local name = fresh("t_")
    local made = account_of { name = name, email = "Some.One@" .. name .. ".Example" }
    assert.equal("pending", made.state)
    assert.equal("viewer", made.role)
    assert.is_true(#made.permissions > 0)
    assert.equal(made.id, accounts.by_name(name).id)
    assert.equal(made.id, accounts.by_email(" some.one@" .. name .. ".example ").id)
    assert.equal("Some.One@" .. name .. ".Example", accounts.by_id(made.id).email)
    assert.is_nil(accounts.by_name(name .. "x"))
  end)

  it("refuses a second one of the name or the address", function()
    local first = account_of { email = fresh("a") .. "@example.org" }
    local ok, reason = pcall(account_of, { name = first.name })
    assert.is_false(ok)
    assert.is_true(reason.duplicate)
    ok, reason = pcall(account_of, { email = first.email:upper() })
    assert.is_false(ok)
    assert.is_true(reason.duplicate)
  end)

  it("uses a mailed token once, of the right kind, before it expires", function()
    local account = account_of { email = fresh("a") .. "@example.org" }
    local token = accounts.new_token(account.id, "activate", 3600, "x")
    assert.is_nil(accounts.peek_token(token, "reset"))
    assert.same({ account_id = account.id, detail = "x" }, accounts.peek_token(token, "activate"))
    assert.is_nil(accounts.use_token(token, "reset"))
    assert.equal(account.id, accounts.use_token(token, "activate").account_id)
    assert.is_nil(accounts.use_token(token, "activate"))
    assert.is_nil(accounts.peek_token(token, "activate"))
    local first = accounts.new_token(account.id, "reset", 3600)
    accounts.new_token(account.id, "reset", 3600)
    assert.is_nil(accounts.use_token(first, "reset")) -- the newer one replaced it
    local late = accounts.new_token(account.id, "reset", 3600)
    db.exec("UPDATE email_tokens SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE account_id = ?", account.id)
    assert.is_nil(accounts.use_token(late, "reset"))
    assert.equal(0, db.one("SELECT COUNT(*) AS c FROM email_tokens WHERE token_hash = ?", late).c)
  end)

  it("becomes active by a verified address, and tells the other services", function()
    local account = account_of { email = fresh("a") .. "@example.org" }
    local before = waiting_for("projection", "account", account.id)
    accounts.verify_email(account.id)
    local now = accounts.by_id(account.id)
    assert.equal("active", now.state)
    assert.is_not_nil(now.email_verified_at)
    assert.equal(before + 1, waiting_for("projection", "account", account.id))
  end)

  it("ends sessions and voids tokens with a new password or a ban", function()
    local account = account_of { state = "active" }
    local function sign_in()
      return sessions.create { token_hash = crypto.hex(crypto.random_bytes(32)), account_id = account.id,
        ip = "127.0.0.1", user_agent = "test", seconds = 60 }
    end
    sign_in()
    accounts.set_password(account.id, "x")
    assert.same({}, sessions.of_account(account.id))
    assert.is_true(accounts.by_id(account.id).nbf > account.nbf)
    sign_in()
    assert.is_true(accounts.set_state(account.id, "banned"))
    assert.same({}, sessions.of_account(account.id))
    local channels = {}
    for i, row in ipairs(db.rows([[SELECT JSON_VALUE(payload, '$.channel') AS channel FROM outbox WHERE kind = 'order'
      AND JSON_VALUE(payload, '$.message.account') = ? ORDER BY id]], account.id)) do
      channels[i] = row.channel
    end
    -- The password closes sockets; the ban those, and what is watched and broadcast.
    assert.same({ "ctl:realtime", "ctl:realtime", "ctl:hooks", "ctl:media" }, channels)
  end)
end)

describe("store.sessions", function()
  it("finds a session by its hash until it ends", function()
    local account = account_of { state = "active" }
    local hash = crypto.hex(crypto.random_bytes(32))
    local made = sessions.create { token_hash = hash, account_id = account.id, ip = "::1", user_agent = "u", seconds = 60 }
    assert.equal(made.id, sessions.by_token_hash(hash).id)
    assert.equal(0, made.seen_seconds_ago)
    assert.is_false(sessions.revoke(made.id, account.id + 1000000)) -- a stranger's
    assert.is_true(sessions.revoke(made.id, account.id))
    assert.is_false(sessions.revoke(made.id))
    assert.is_nil(sessions.by_token_hash(hash))
  end)
end)

describe("store.models", function()
  it("moves only along the paths there are, and only from the version that was seen", function()
    local model = model_of()
    assert.has_error(function() models.move { id = model.id, version = 1, from = "submitted", to = "closed" } end)
    assert.has_error(function() models.move { id = model.id, version = 1, from = "submitted", to = "rejected" } end)
    assert.is_true(models.move { id = model.id, version = 1, from = "submitted", to = "in_review" })
    assert.is_false(models.move { id = model.id, version = 1, from = "submitted", to = "approved" })
    assert.is_false(models.move { id = model.id, version = 1, from = "in_review", to = "approved" })
    assert.equal("in_review", models.by_id(model.id).state)
  end)

  it("makes the account a model by approval, and drops the stream when that ends", function()
    local model, account = model_of("approved")
    assert.equal("model", accounts.by_id(account.id).role)
    assert.is_not_nil(model.approved_at)
    assert.is_true(models.move { id = model.id, version = model.state_version, from = "approved", to = "suspended",
      reason = "test" })
    local orders_for = db.rows([[SELECT JSON_VALUE(payload, '$.channel') AS channel FROM outbox WHERE kind = 'order'
      AND JSON_VALUE(payload, '$.message.slug') = ? ORDER BY id]], model.slug)
    assert.same({ { channel = "ctl:hooks" }, { channel = "ctl:media" } }, orders_for)
  end)

  it("keeps legal names and birth dates sealed", function()
    local account = account_of { state = "active" }
    local id = models.apply { account_id = account.id, slug = fresh("m-"), stage_name = "Stage", bio = "",
      legal_name = "Ada Example", born = "1990-01-02", agreement_version = "1" }
    assert.same({ legal_name = "Ada Example", born = "1990-01-02" }, models.identity(id))
    local row = db.one("SELECT legal_name_enc, born_enc FROM identity_records WHERE model_id = ?", id)
    assert.is_nil(row.legal_name_enc:find("Ada", 1, true))
    assert.is_nil(row.born_enc:find("1990", 1, true))
    assert.equal("submitted", models.by_id(id).state)
  end)

  it("finds by part of a name without reading % and _ as patterns", function()
    local model = model_of("approved")
    local rows, total = models.search { query = model.slug:sub(3), limit = 10 }
    assert.equal(1, total)
    assert.equal(model.id, rows[1].id)
    local _, none = models.search { query = "%" .. model.slug:sub(3), limit = 10 }
    assert.equal(0, none)
  end)
end)

describe("store.rooms", function()
  it("saves settings once for each version, and lists approved rooms only", function()
    local model = model_of()
    assert.is_true(rooms.save { model_id = model.id, version = 1, title = "T", rate = 60000000, tags = { "music", "art" } })
    assert.is_false(rooms.save { model_id = model.id, version = 1, title = "other" })
    local room = rooms.by_slug(model.slug)
    assert.same({ "art", "music" }, room.tags)
    assert.equal(60000000, room.rate)
    assert.is_false(room.tips_offline)
    local function listed()
      for _, row in ipairs(rooms.listed()) do
        if row.slug == model.slug then return true end
      end
      return false
    end
    assert.is_false(listed())
    models.move { id = model.id, version = 1, from = "submitted", to = "approved" }
    assert.is_true(listed())
    assert.equal(model.id, rooms.search(model.slug)[1].id)
  end)
end)

describe("store.stream_keys", function()
  it("shows a key once and keeps its hash; a new one ends the old one", function()
    local model = model_of("approved")
    assert.is_nil(stream_keys.of_model(model.id))
    local first = stream_keys.rotate(model.id)
    local second = stream_keys.rotate(model.id)
    assert.are_not.equal(first, second)
    assert.equal(second:sub(-4), stream_keys.of_model(model.id).hint)
    local keys = models.projection(model.id).keys
    assert.equal(2, #keys)
    assert.same({ hash = crypto.hex(crypto.sha256(second)), in_force = 1 }, keys[1])
    assert.equal(0, keys[2].in_force)
  end)
end)

describe("store.broadcasts", function()
  it("takes events twice without harm", function()
    local model = model_of("approved")
    local event = fresh("b:")
    local id = broadcasts.began { event = event, model = model.id, at = 1795000000123 }
    assert.equal(id, broadcasts.began { event = event, model = model.id, at = 1795000009999 })
    assert.is_true(broadcasts.ended { event = event, at = 1795000060123, reason = "stopped" })
    assert.is_false(broadcasts.ended { event = event, at = 1795000099999, reason = "later" })
    local row = broadcasts.of_model(model.id, 5)[1]
    assert.equal("2026-11-18 11:06:40.123000", row.started_at)
    assert.equal("stopped", row.end_reason)
    assert.equal(60, row.seconds)
    assert.is_nil(broadcasts.began { event = fresh("b:"), model = 2 ^ 40 | 0, at = 1 })
  end)
end)

describe("store.orders", function()
  local function order_of(account, key)
    return orders.create { account_id = account.id, pack = packs.by_name("starter"), provider = "sandbox",
      idem_key = key or fresh("k"), ip = "127.0.0.1" }
  end

  it("makes one order for one key", function()
    local account = account_of { state = "active" }
    local key = fresh("k")
    local first = order_of(account, key)
    assert.equal("created", first.state)
    assert.equal(first.id, order_of(account, key).id)
    assert.are_not.equal(first.id, order_of(account).id)
    assert.equal(packs.by_name("starter").price_minor, first.price_minor)
  end)

  it("goes only where an order may go, once", function()
    local order = order_of(account_of { state = "active" })
    assert.has_error(function() orders.move(order.id, "created", "credited") end)
    assert.has_error(function() orders.move(order.id, "refunded", "paid") end)
    assert.is_true(orders.move(order.id, "created", "paid"))
    assert.is_false(orders.move(order.id, "created", "paid"))
    assert.is_true(orders.move(order.id, "paid", "credited"))
    local now = orders.by_public_id(order.public_id)
    assert.equal("credited", now.state)
    assert.is_not_nil(now.paid_at)
    assert.is_not_nil(now.credited_at)
    -- Reconciliation looks at every order, this one too: what it was credited with is there.
    billing.credit { op = "order:" .. order.public_id, account = order.account_id, amount = order.credits,
      type = "purchase" }
  end)

  it("keeps an event of a provider once", function()
    local order = order_of(account_of { state = "active" })
    local event = { provider = "sandbox", event_id = fresh("e"), order_id = order.id, raw = "{}" }
    local id = payments.add_event(event)
    assert.is_number(id)
    assert.is_nil(payments.add_event(event))
    payments.finish_event(id, "applied")
  end)
end)

describe("store.audit", function()
  it("chains its rows, and notices a changed one", function()
    local target = fresh("test:")
    local seq = audit.write { action = "test.done", target = target, detail = { a = 1 } }
    assert.same({ a = 1 }, audit.of_target(target, 5)[1].detail)
    assert.is_true(audit.verify())
    -- Not even the services' own user may change one.
    local ok, reason = pcall(db.exec, "UPDATE audit_log SET target = 'x' WHERE seq = ?", seq)
    assert.is_false(ok)
    assert.equal(1142, reason.code)
  end)
end)

describe("the ledger's tables", function()
  it("can be added to, and neither changed nor emptied", function()
    for _, sql in ipairs {
      "UPDATE ledger_entries SET amount = amount", "DELETE FROM ledger_entries", "UPDATE ledger_txns SET type = type",
      "DELETE FROM ledger_txns", "DELETE FROM wallet_balances", "DROP TABLE ledger_entries", "TRUNCATE ledger_txns",
    } do
      local ok, reason = pcall(db.exec, sql)
      assert.is_false(ok, sql)
      assert.equal(1142, reason.code, sql)
    end
  end)
end)

describe("store.outbox", function()
  it("gives a row to one worker until its lease ends", function()
    local id = outbox.add("push", { test = true }) -- a kind that no job takes while this runs
    db.exec("UPDATE outbox SET next_at = UTC_TIMESTAMP(6) - INTERVAL 1 YEAR WHERE id = ?", id)
    local function mine(rows)
      for _, row in ipairs(rows) do
        if row.id == id then return row end
      end
    end
    local row = mine(outbox.take("one", 1000, 60))
    assert.same({ test = true }, row.payload)
    assert.equal(1, row.attempts)
    assert.is_nil(mine(outbox.take("two", 1000, 60)))
    assert.is_false(outbox.done(id, "two"))
    outbox.failed(id, "one", "why", 0)
    assert.is_not_nil(mine(outbox.take("two", 1000, 60)))
    assert.is_true(outbox.done(id, "two"))
    -- Give back what was not ours.
    db.exec("UPDATE outbox SET leased_until = NULL WHERE leased_by IN ('one', 'two') AND state = 'waiting'")
  end)

  it("forgets a row whose transaction is rolled back", function()
    local slug = fresh("never-")
    pcall(db.transaction, function(tx)
      outbox.add("projection", { old_slug = slug }, tx)
      error("no")
    end)
    assert.equal(0, waiting_for("projection", "old_slug", slug))
  end)
end)
