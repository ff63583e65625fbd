local form = require "footlight.form"
local i18n = require "footlight.i18n"

-- A request as far as a form needs one.
local function request(fields)
  local req = { locale = "en", t = i18n.translator("en") }
  function req.fields() return fields end
  function req.bad_request(_, reason) error({ status = 400, detail = reason }, 0) end
  return req
end

local function read(field, raw)
  local values, errors = form.define({ { "x", field } }):read(request { x = raw })
  return values.x, errors and errors.x
end

local function refused(field, raw)
  local _, message = read(field, raw)
  assert.is_string(message, tostring(raw))
  return message
end

local function status_of(field, raw)
  local ok, raised = pcall(read, field, raw)
  return not ok and raised.status or nil
end

describe("a form", function()
  it("reads a text, without the space around it", function()
    assert.equal("a b", (read(form.text {}, "  a b ")))
  end)

  it("counts code points", function()
    assert.equal("üüü", (read(form.text { max = 3 }, "üüü")))
    assert.matches("At most 3", refused(form.text { max = 3 }, "üüüü"))
    assert.matches("At least 2", refused(form.text { min = 2 }, "ü"))
  end)

  it("refuses control and direction characters", function()
    for _, text in ipairs { "a\0b", "a\27b", "a\127", "a\u{85}b", "a\u{202e}b", "a\u{2066}b", "\u{61c}" } do
      assert.matches("cannot be shown", refused(form.text {}, "x" .. text .. "x"))
    end
  end)

  it("takes lines only where they are wanted, and unites their ends", function()
    assert.equal("a\nb", (read(form.text { lines = true }, "a\r\nb")))
    assert.matches("one line", refused(form.text {}, "a\nb"))
  end)

  it("answers 400 to broken UTF-8 and to a field that comes twice", function()
    assert.equal(400, status_of(form.text {}, "\xff"))
    assert.equal(400, status_of(form.text {}, "\xed\xa0\x80"))
    assert.equal(400, status_of(form.integer {}, { "1", "2" }))
    assert.is_nil(status_of(form.choices { options = { "a", "b" } }, { "a", "b" }))
  end)

  it("reads whole numbers and nothing that only looks like one", function()
    assert.equal(12, (read(form.integer { min = 1, max = 100 }, "12")))
    for _, text in ipairs { "1.0", "-1", "+1", "0x1", "1e3", "1234567890", "１", "a" } do
      refused(form.integer {}, text)
    end
    assert.matches("At least 1%.", refused(form.integer { min = 1 }, "0"))
    assert.matches("At most 9%.", refused(form.integer { max = 9 }, "10"))
  end)

  it("reads credits as micro-credits", function()
    assert.equal(1500000, (read(form.credits {}, "1.5")))
    assert.equal(10000, (read(form.credits {}, "0,01")))
    for _, text in ipairs { "1.001", "-1", "1.", ".5", "1,000.50", "1e3" } do
      refused(form.credits {}, text)
    end
    assert.matches("At least 1%.", refused(form.credits { min = 1000000 }, "0.99"))
  end)

  it("reads addresses, with the domain folded", function()
    assert.equal("Ann.B+x@mail.example", (read(form.email {}, " Ann.B+x@Mail.Example ")))
    for _, text in ipairs {
      "a", "a@", "@b.c", "a@b", "a b@c.d", "a@b..c", "a@-b.c", "a@b.c\nBcc: x", "a@b_c.d", ".a@b.c",
      'a"b@c.d', ("a"):rep(65) .. "@b.c",
    } do
      refused(form.email {}, text)
    end
  end)

  it("takes only what a choice offers", function()
    assert.equal("a", (read(form.choice { "a", "b" }, "a")))
    refused(form.choice { "a", "b" }, "c")
    assert.equal("v", (read(form.choice { options = { { value = "v", label = "V" } } }, "v")))
    assert.same({ "b", "a" }, (read(form.choices { options = { "a", "b" } }, { "b", "a", "b" })))
  end)

  it("takes dates that exist", function()
    assert.equal("2024-02-29", (read(form.date {}, "2024-02-29")))
    refused(form.date {}, "2023-02-29")
    refused(form.date {}, "2023-13-01")
    refused(form.date {}, "tomorrow")
  end)

  it("knows ticked boxes, and those that must be", function()
    assert.is_true((read(form.checkbox {}, "on")))
    assert.is_false((read(form.checkbox {}, nil)))
    assert.matches("tick", refused(form.checkbox { required = true }, nil))
  end)

  it("wants what is not optional", function()
    assert.matches("fill this in", refused(form.text {}, "   "))
    assert.equal("", (read(form.text { optional = true }, nil)))
    assert.is_nil((read(form.integer { optional = true }, "")))
    assert.equal(5, (read(form.integer { default = 5 }, nil)))
  end)

  it("ignores fields that it does not know", function()
    local values = form.define({ { "a", form.text {} } }):read(request { a = "1", b = "2" })
    assert.same({ a = "1" }, values)
  end)

  it("keeps what was typed and lists the errors in order, but never shows a password", function()
    local both = form.define {
      { "name", form.text {} }, { "amount", form.integer { max = 5 } }, { "password", form.password {} },
    }
    local values, errors = both:read(request { name = "ann", amount = "9x", password = "secret words" })
    assert.same({ name = "ann", amount = "9x" }, values)
    assert.equal("secret words", values.password) -- by name, for further checks
    assert.same({ "amount" }, { errors.list[1].name })
    assert.equal(errors.amount, errors.list[1].text)
    for name in pairs(values) do assert.not_equal("password", name) end
  end)

  it("asks a field's own check last, with all values", function()
    local field = form.text {
      check = function(value, values) return value == values.y and "The same as y" or nil end,
    }
    local own = form.define { { "x", field }, { "y", form.text {} } }
    local _, errors = own:read(request { x = "1", y = "1" })
    assert.equal("The same as y", errors.x)
    local values = own:read(request { x = "1", y = "2" })
    assert.same({ x = "1", y = "2" }, values)
  end)

  it("refuses a definition that is none", function()
    assert.has_error(function() form.define { { "x", "text" } } end)
    assert.has_error(function() form.define { { "x", form.text {} }, { "x", form.text {} } } end)
  end)
end)
