-- jobs.outbox: from a committed change to Redis and to the mailbox.
local accounts = require "store.accounts"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local delivery = require "jobs.mail_delivery"
local file = require "runtime.file"
local job = require "jobs.outbox"
local json = require "runtime.json"
local models = require "store.models"
local outbox = require "store.outbox"
local projections = require "jobs.projections"
local redis = require "runtime.redis"
local sessions = require "store.sessions"
local stream_keys = require "store.stream_keys"

local function fresh(prefix) return prefix .. crypto.hex(crypto.random_bytes(4)) end
local function drain()
  while job.step("spec") > 0 do end
end
local function hash_of(key)
  local list, fields = redis.call("HGETALL", key), {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end
local function model_of()
  local account = accounts.create { name = fresh("t_"), state = "active" }
  local slug = fresh("m-")
  local id = models.create { account_id = account.id, slug = slug, state = "submitted" }
  models.move { id = id, version = 1, from = "submitted", to = "approved" }
  return models.by_id(id), account
end

describe("the outbox job", function()
  it("writes what the hooks, media and realtime services know", function()
    local model, account = model_of()
    local old = stream_keys.rotate(model.id)
    drain()
    local now = hash_of("p:model:" .. model.slug)
    assert.same({ id = tostring(model.id), account = tostring(account.id), name = model.slug, state = "approved",
      rate = "0", version = "3", show = "0", show_kind = "public", show_at = "0", away = "0", record = "0", countries = "", networks = "" }, now)
    assert.equal("model", hash_of("p:account:" .. account.id).role)
    local function key_of(key) return "p:key:" .. crypto.hex(crypto.sha256(key)) end
    assert.same({ model = tostring(model.id), slug = model.slug }, hash_of(key_of(old)))
    local new = stream_keys.rotate(model.id)
    drain()
    assert.same({}, hash_of(key_of(old)))
    assert.equal(model.slug, hash_of(key_of(new)).slug)
  end)

  it("publishes orders", function()
    local account = accounts.create { name = fresh("t_"), state = "active" }
    drain()
    local orders = redis.subscribe("ctl:realtime")
    accounts.set_state(account.id, "banned")
    drain()
    local message = json.decode(orders:receive(5))
    assert.same({ ["do"] = "kick", account = account.id, reason = "banned" }, message)
    orders:close()
    assert.equal("banned", hash_of("p:account:" .. account.id).state)
  end)

  it("closes the sockets of a session that was ended, and of those before a new password", function()
    local account = accounts.create { name = fresh("t_"), state = "active" }
    local made = sessions.create { token_hash = crypto.hex(crypto.random_bytes(32)), account_id = account.id,
      ip = "::1", user_agent = "u", seconds = 60 }
    drain()
    local orders = redis.subscribe("ctl:realtime")
    sessions.revoke(made.id, account.id)
    drain()
    assert.same({ ["do"] = "kick", account = account.id, session = tostring(made.id), reason = "signed out" },
      json.decode(orders:receive(5)))
    assert.equal("1", redis.call("GET", "rt:revoked:" .. made.id))
    accounts.set_password(account.id, "hash")
    drain()
    local message = json.decode(orders:receive(5))
    assert.equal(account.id, message.account)
    assert.equal(hash_of("p:account:" .. account.id).nbf, tostring(message.before))
    orders:close()
  end)

  it("puts mails into the mailbox as whole files", function()
    local to = fresh("m") .. "@example.org"
    local id = outbox.add("mail", { to = to, from = "Site <a@b.example>", subject = "Hello", text = "Body" })
    drain()
    local found
    for _, name in ipairs(file.list(config.get("mail.mailbox"))) do
      assert.is_nil(name:find("%.part$"))
      if name:find(("-%08d.json"):format(id), 1, true) then found = json.decode(file.read(config.get("mail.mailbox") .. "/" .. name)) end
    end
    assert.equal(to, found.to)
    assert.equal("Body", found.text)
    assert.is_not_nil(found.at)
  end)

  it("gives up a mail without an address, and tries again what may work later", function()
    local bad = outbox.add("mail", { to = "nobody\r\nBcc: all", subject = "x", text = "x" })
    local odd = outbox.add("webhook", {})
    local testing = require "footlight.testing"
    testing.expect_log("outbox.failed")
    drain()
    assert.equal("dead", db.one("SELECT state FROM outbox WHERE id = ?", bad).state)
    assert.equal("dead", db.one("SELECT state FROM outbox WHERE id = ?", odd).state)
  end)

  it("writes messages that mail servers take", function()
    local text = delivery.message({ to = "a@example.org", from = "Büro <b@example.org>", subject = "Grüße " .. ("ä"):rep(60),
      text = ("zeile\n"):rep(40), html = "<p>x</p>" }, 7)
    for line in text:gmatch("([^\r\n]*)\r\n") do assert.is_true(#line <= 78, line) end
    assert.is_nil(text:find("[\128-\255]"))
    assert.is_nil(text:gsub("\r\n", ""):find("[\r\n]"))
    assert.matches("\r\nMessage%-ID: <outbox%-7@example.org>\r\n", text)
    assert.matches("multipart/alternative", text)
  end)
end)

describe("projections.rebuild", function()
  it("brings everything back after Redis lost it, and removes strangers", function()
    local model, account = model_of()
    local key = stream_keys.rotate(model.id)
    drain()
    redis.call("DEL", "p:model:" .. model.slug, "p:account:" .. account.id)
    redis.call("HSET", "p:key:" .. ("0"):rep(64), "model", "1", "slug", "stranger")
    local result = projections.rebuild()
    assert.is_true(result.removed >= 1)
    assert.is_true(result.models >= 1)
    assert.equal(tostring(model.id), hash_of("p:model:" .. model.slug).id)
    assert.equal(account.name, hash_of("p:account:" .. account.id).name)
    assert.equal(model.slug, hash_of("p:key:" .. crypto.hex(crypto.sha256(key))).slug)
    assert.same({}, hash_of("p:key:" .. ("0"):rep(64)))
  end)
end)
