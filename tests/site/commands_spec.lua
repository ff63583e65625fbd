-- What operators type: exit codes, texts, JSON.
local command = require "footlight.command"
local crypto = require "runtime.crypto"
local json = require "runtime.json"
local streaming = require "runtime.streaming"

local function fresh(prefix) return prefix .. crypto.hex(crypto.random_bytes(4)) end

local function stream()
  return { text = "", write = function(self, ...)
    self.text = self.text .. table.concat({ ... })
    return self
  end }
end

-- run("account", "show", "ava") → exit code, standard output, standard error
local function run(name, ...)
  local out, err = stream(), stream()
  local code = require("commands." .. name).run({ ... }, { stdout = out, stderr = err })
  return code, out.text, err.text
end
local function run_json(...)
  local code, out, err = run(...)
  assert.equal(0, code, err)
  return json.decode(out)
end

describe("commands", function()
  it("say how they are used, and exit with 2 when they are used otherwise", function()
    local code, out = run("account", "--help")
    assert.equal(0, code)
    assert.matches("footlight account create NAME", out)
    code, out = run("account", "create", "--help")
    assert.equal(0, code)
    assert.matches("%-%-password%-stdin", out)
    for _, words in ipairs { {}, { "dance" }, { "create" }, { "create", "a", "b" }, { "create", "ava", "--nonsense" },
      { "create", "ava", "--email" }, { "create", "ava", "--active=yes" }, { "create", "Ava!" } } do
      local exit, text, reason = run("account", table.unpack(words))
      assert.equal(2, exit, table.concat(words, " "))
      assert.equal("", text)
      assert.matches("account", reason)
    end
  end)

  it("read amounts of credits without floats", function()
    assert.equal(10000000, command.credits("10"))
    assert.equal(1, command.credits("0.000001"))
    assert.equal(1100000, command.credits("1.1"))
    assert.equal(999999999999999, command.credits("999999999.999999"))
    for _, text in ipairs { "", "-1", "1.", ".5", "1.0000001", "1e3", "0x10", " 1", "1,5", "9999999999" } do
      assert.is_nil(command.credits(text), text)
    end
    assert.equal("12.5", command.show_credits(12500000))
    assert.equal("-0.000001", command.show_credits(-1))
  end)
end)

describe("footlight account", function()
  it("creates and shows an account", function()
    local name = fresh("t_")
    local made = run_json("account", "create", name, "--email", name .. "@example.org", "--role=moderator", "--active",
      "--json")
    assert.equal("moderator", made.role)
    assert.equal("active", made.state)
    assert.is_true(made.verified)
    assert.is_false(made.has_password)
    assert.equal(made.id, run_json("account", "show", name, "--json").id)
    local code, _, err = run("account", "create", name)
    assert.equal(1, code)
    assert.matches("the name " .. name .. " is taken", err)
    code, _, err = run("account", "create", fresh("t_"), "--email", name .. "@EXAMPLE.org")
    assert.equal(1, code)
    assert.matches("there is an account with the address", err)
    assert.equal(3, (run("account", "show", name .. "_")))
  end)

  it("takes a password that then checks", function()
    local name = fresh("t_")
    run_json("account", "create", name, "--password", "correct horse battery", "--json")
    local account = require("store.accounts").by_name(name)
    assert.is_true(crypto.password_verify(account.password_hash, "correct horse battery"))
    assert.is_false(crypto.password_verify(account.password_hash, "wrong"))
  end)
end)

describe("footlight model", function()
  it("creates, approves, and makes a key that is shown once", function()
    local slug = fresh("m-")
    local made = run_json("model", "create", slug, "--title", "A title", "--rate", "60.5", "--json")
    assert.equal("submitted", made.state)
    assert.equal(60500000, made.rate)
    assert.equal(1, (run("model", "create", slug)))
    assert.equal("approved", run_json("model", "approve", slug, "--json").state)
    assert.equal(0, (run("model", "approve", slug))) -- again: nothing to do
    local first = run_json("model", "key", slug, "--json")
    assert.is_true(first.made)
    local code, out = run("model", "key", slug)
    assert.equal(0, code)
    assert.is_nil(out:find(first.key, 1, true))
    local second = run_json("model", "key", slug, "--rotate", "--json")
    assert.are_not.equal(first.key, second.key)
    assert.equal(second.key:sub(-4), run_json("model", "show", slug, "--json").key.hint)
  end)

  it("refuses what cannot be", function()
    local slug = fresh("m-")
    assert.equal(3, (run("model", "show", slug)))
    assert.equal(3, (run("model", "key", slug)))
    assert.equal(2, (run("model", "create", "-bad-")))
    assert.equal(2, (run("model", "create", slug, "--rate", "1.5x")))
    assert.equal(2, (run("model", "create", slug, "--rate", "10001")))
    assert.equal(3, (run("model", "create", slug, "--account", fresh("nobody_"))))
    assert.equal(3, (run("model", "show", slug))) -- nothing half done
    run_json("model", "create", slug, "--json")
    assert.equal(2, (run("model", "reject", slug)))
    assert.equal(0, (run("model", "reject", slug, "--reason", "no documents")))
    assert.equal(1, (run("model", "approve", slug)))
  end)
end)

describe("footlight ticket", function()
  it("issues a ticket with the terms that were asked for", function()
    local slug, name = fresh("m-"), fresh("t_")
    run_json("model", "create", slug, "--rate", "30", "--json")
    local account = run_json("account", "create", name, "--active", "--json")
    local issued = run_json("ticket", "issue", slug, "--account", name, "--rate", "60", "--seconds", "90", "--json")
    local ticket = assert(streaming.read_ticket(issued.ticket))
    assert.equal(account.id, ticket.account)
    assert.equal(slug, ticket.slug)
    assert.equal(60000000, ticket.rate)
    assert.equal(90, ticket.limit)
    assert.equal("paid", ticket.policy)
    assert.is_truthy(issued.play_url:find("/" .. slug .. "?t=", 1, true))
    assert.equal(30000000, run_json("ticket", "issue", slug, "--account", name, "--json").rate)
    assert.equal("free", run_json("ticket", "issue", slug, "--account", name, "--rate", "0", "--json").policy)
    assert.equal(2, (run("ticket", "issue", slug)))
    assert.equal(2, (run("ticket", "issue", slug, "--account", name, "--seconds", "0")))
    assert.equal(3, (run("ticket", "issue", slug, "--account", fresh("nobody_"))))
    assert.equal(3, (run("ticket", "issue", fresh("none-"), "--account", name)))
  end)
end)
