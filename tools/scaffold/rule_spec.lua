local rule = require "moderation.rules.@NAME@"

local function message(text)
  return { text = text, room = "room", from = { id = 1, name = "ann", role = "viewer" } }
end

describe("the rule '@NAME@'", function()
  it("has no opinion on an ordinary message", function()
    assert.is_nil(rule(message "Good evening!"))
  end)

  it("drops what it is there for", function()
    assert.equal("drop", rule(message "@NAME@").verdict)
  end)
end)
