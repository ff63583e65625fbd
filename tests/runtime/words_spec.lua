-- i18n, format, pagination, permissions: what is small.
local format = require "footlight.format"
local i18n = require "footlight.i18n"
local pagination = require "footlight.pagination"
local permissions = require "footlight.permissions"

describe("the catalogue", function()
  setup(function()
    i18n.load {
      en = {
        hello = "Hello {name}", rooms = { one = "{count} room", other = "{count} rooms" },
        rich_html = "<b>{name}</b>", only = "only in English",
      },
      pl = { rooms = { one = "{count} pokój", few = "{count} pokoje", many = "{count} pokoi" } },
      fr = { hello = "Bonjour {name}", rooms = { one = "{count} salle", other = "{count} salles" } },
    }
  end)
  teardown(function() i18n.load() end)

  it("fills in values, and leaves what has none", function()
    assert.equal("Hello ann", i18n.translate("en", "hello", { name = "ann" }))
    assert.equal("Hello {name}", i18n.translate("en", "hello", { other = 1 }))
  end)

  it("chooses by count, as the language does", function()
    local function rooms(locale, n) return i18n.translate(locale, "rooms", { count = n }) end
    assert.equal("1 room", rooms("en", 1))
    assert.equal("0 rooms", rooms("en", 0))
    assert.equal("0 salle", rooms("fr", 0))
    assert.equal("22 pokoje", rooms("pl", 22))
    assert.equal("12 pokoi", rooms("pl", 12))
  end)

  it("falls back to the default language, then to the key", function()
    assert.equal("only in English", i18n.translate("fr", "only"))
    assert.equal("no such key", i18n.translate("fr", "no such key"))
    assert.equal("Bonjour x", i18n.translate("fr-CA", "hello", { name = "x" }))
  end)

  it("escapes values in messages that are markup", function()
    assert.equal("<b>&lt;i&gt;</b>", tostring(i18n.translate("en", "rich_html", { name = "<i>" })))
  end)

  it("chooses the language of a visitor", function()
    assert.equal("fr", i18n.negotiate("de, fr;q=0.8, en;q=0.5"))
    assert.equal("pl", i18n.negotiate("pl-PL"))
    assert.equal("en", i18n.negotiate("xx, *;q=0.1"))
    assert.equal("en", i18n.negotiate(nil))
    assert.equal("en", i18n.negotiate(("fr;q=0,"):rep(1000)))
  end)
end)

describe("an amount", function()
  it("has at most two decimals and is never rounded up", function()
    assert.equal("10", format.credits(10000000))
    assert.equal("9.50", format.credits(9500000))
    assert.equal("9.99", format.credits(9999999))
    assert.equal("0", format.credits(9999))
    assert.equal("-1.01", format.credits(-1000001))
    assert.equal("1,234,567.89", format.credits(1234567890000))
    assert.equal("12", format.credits("12000000")) -- a DECIMAL comes as text
  end)

  it("is read back exactly", function()
    assert.equal(1230000, format.parse_credits("1.23"))
    assert.equal(1200000, format.parse_credits("1.2"))
    assert.is_nil(format.parse_credits("1.234"))
    assert.is_nil(format.parse_credits("1e9"))
  end)
end)

describe("a time", function()
  it("is read from MariaDB, seconds and milliseconds", function()
    assert.equal(1700000000, format.seconds("2023-11-14 22:13:20.123456"))
    assert.equal(1700000000, format.seconds(1700000000))
    assert.equal(1700000000, format.seconds(1700000000123))
    assert.is_nil(format.seconds("soon"))
  end)

  it("is shown in UTC", function()
    assert.equal("14 Nov 2023, 22:13 UTC", format.datetime(1700000000))
    assert.equal("2023-11-14T22:13:20Z", format.iso(1700000000))
    assert.equal("", format.datetime(nil))
  end)

  it("is told from now", function()
    local now = 1700000000
    assert.equal("just now", format.ago(now - 5, "en", now))
    assert.equal("1 minute ago", format.ago(now - 60, "en", now))
    assert.equal("2 hours ago", format.ago(now - 7300, "en", now))
    assert.equal("14 Nov 2023", format.ago(now, "en", now + 40 * 86400))
  end)
end)

describe("pages of a list", function()
  local function request(query)
    return {
      path = "/", query = query,
      not_found = function() error({ status = 404 }, 0) end,
    }
  end

  it("begin at 1, whatever was asked for", function()
    for _, page in ipairs { "0", "-1", "x", "1.5", "" } do
      assert.equal(1, pagination.read(request { page = page }).page)
    end
    assert.equal(1, pagination.read(request { page = { "2", "3" } }).page)
  end)

  it("end somewhere", function()
    local ok, raised = pcall(pagination.read, request { page = "201" })
    assert.is_false(ok)
    assert.equal(404, raised.status)
    assert.is_false((pcall(pagination.read, request { page = ("9"):rep(40) })))
  end)

  it("know their neighbours, with the rest of the address", function()
    local pages = pagination.read(request { page = "2", q = "a b" }, { size = 10 }):finish(25)
    assert.equal(3, pages.pages)
    assert.equal(10, pages.offset)
    assert.equal("/?q=a%20b", pages.previous)
    assert.equal("/?page=3&q=a%20b", pages.next)
  end)
end)

describe("permissions", function()
  it("come from the role, or from the account itself", function()
    assert.is_true(permissions.has({ role = "admin" }, "admin.models"))
    assert.is_false(permissions.has({ role = "viewer" }, "admin.models"))
    assert.is_true(permissions.has({ role = "viewer", permissions = { "admin.models" } }, "admin.models"))
    assert.is_false(permissions.has({ role = "admin", permissions = {} }, "admin.models"))
    assert.is_false(permissions.has(nil, "room.chat"))
  end)

  it("know roles", function()
    assert.is_true(permissions.in_role({ role = "model" }, { "admin", "model" }))
    assert.is_false(permissions.in_role(nil, "model"))
  end)
end)
