local new_client = require("footlight.testing.client").new

describe("the page /@PATH@", function()
  it("shows its form", function()
    local page = new_client():get "/@PATH@"
    assert.equal(200, page.status)
    assert.is_truthy(page:form "/@PATH@")
  end)

  it("takes a message", function()
    local client = new_client()
    local page = client:submit(client:get "/@PATH@", { message = "Hello there" }, "/@PATH@")
    assert.equal(200, page.status)
    assert.is_true(page:has "You wrote: Hello there")
  end)

  it("says what is wrong, and keeps what was typed", function()
    local client = new_client()
    local long = ("x"):rep(201)
    local page = client:submit(client:get "/@PATH@", { message = long }, "/@PATH@")
    assert.equal(422, page.status)
    assert.equal(long, page:form("/@PATH@").fields.message)
  end)

  it("refuses a message without the form's token", function()
    assert.equal(403, new_client():post("/@PATH@", { message = "Hello" }).status)
  end)
end)
