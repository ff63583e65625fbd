local mail = require "footlight.mail"
local view = require "footlight.view"

describe("a mail", function()
  local outbox, added

  setup(function()
    outbox = package.loaded["store.outbox"]
    package.loaded["store.outbox"] = {
      add = function(kind, payload, tx)
        added = { kind = kind, payload = payload, tx = tx }
        return 7
      end,
    }
    assert(view.load {
      ["mail/plain.txt"] = "{% set subject = 'Hello ' .. name %}Dear {{ name }} of {{ site.name }}",
      ["mail/both.txt"] = "{% set subject = 'S' %}text {{ name }}",
      ["mail/both.html"] = "<p>{{ name }}</p>",
      ["mail/none.txt"] = "no subject",
    })
  end)
  teardown(function()
    package.loaded["store.outbox"] = outbox
    view.load()
  end)

  it("is text as it is, with a subject that its template sets", function()
    local made = mail.render { to = "a@b.example", template = "mail/plain", values = { name = "<Ann>" } }
    assert.equal("Hello <Ann>", made.subject)
    assert.matches("^Dear <Ann> of ", made.text)
    assert.is_nil(made.html)
  end)

  it("has a page beside the text where there is a template for it, and that one escapes", function()
    local made = mail.render { to = "a@b.example", template = "mail/both", values = { name = "<Ann>" } }
    assert.equal("text <Ann>", made.text)
    assert.equal("<p>&lt;Ann&gt;</p>", made.html)
  end)

  it("has no line break in its subject, whatever stands in it", function()
    local made = mail.render { to = "a@b.example", template = "mail/plain",
      values = { name = "x\r\nBcc: evil@example.org" } }
    assert.is_nil(made.subject:find("[\r\n]"))
  end)

  it("wants a subject and one address", function()
    assert.error_matches(function() mail.render { to = "a@b.c", template = "mail/none" } end, "sets no subject")
    for _, to in ipairs { "a", "a@b.c, d@e.f", "a@b.c\nBcc: x@y.z", "<a@b.c>", "" } do
      assert.error_matches(function()
        mail.send { to = to, template = "mail/plain", values = { name = "x" } }
      end, "not an address")
    end
  end)

  it("goes into the outbox, in the transaction that it is given", function()
    local tx = {}
    local id = mail.send({ to = "a@b.example", template = "mail/plain", values = { name = "Ann" } }, tx)
    assert.equal(7, id)
    assert.equal("mail", added.kind)
    assert.equal("a@b.example", added.payload.to)
    assert.equal(tx, added.tx)
  end)
end)
