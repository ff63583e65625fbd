-- The rules that chat passes, one by one and together.
local moderation = require "moderation"
local entry = require "realtime"

local function message(text, role)
  return { channel = "chat:lola", room = "lola", text = text,
    from = { id = 7, name = "ava", role = role or "viewer" } }
end

describe("the chat rules", function()
  it("let ordinary talk pass", function()
    for _, text in ipairs { "hello", "Grüße aus Köln!", "3.50 for that?", "no.way", "OMG", "what...", "ha ha ha" } do
      assert.same("pass", moderation.judge(message(text)).verdict, text)
    end
  end)

  it("cut runs of one character", function()
    local verdict = moderation.judge(message("hellooooooooo!!!!!!!"))
    assert.same({ verdict = "change", text = "hellooo!!!" }, verdict)
    assert.same("äää", moderation.judge(message("äääääääää")).text)
  end)

  it("lower long shouting and leave short words alone", function()
    assert.same("this is so very loud", moderation.judge(message("THIS IS SO VERY LOUD")).text)
    assert.same("pass", moderation.judge(message("WOW")).verdict)
  end)

  it("drop links of viewers, with a reason, and not those of staff", function()
    for _, text in ipairs { "http://a.example/x", "see www.spam.example", "go to spam.com now", "SPAM.NET" } do
      local verdict = moderation.judge(message(text))
      assert.same("drop", verdict.verdict, text)
      assert.is_string(verdict.reason)
      assert.same("links", verdict.rule)
    end
    assert.same("pass", moderation.judge(message("http://help.example", "moderator")).verdict)
  end)

  it("let links pass where the room does", function()
    local linked = message("http://a.example/x")
    linked.links = true
    assert.same("pass", moderation.judge(linked).verdict)
  end)

  it("see what the rules before them changed", function()
    assert.same("drop", moderation.judge(message("wwwwwww.spam.example")).verdict)
  end)

  it("are what the realtime service asks", function()
    assert.same({ verdict = "pass" }, entry.on_chat(message("hello")))
  end)
end)
