-- The broadcaster's page and its tokens. That it broadcasts is held by tests/browser.
local config = require "runtime.config"
local people = dofile(config.root .. "/tests/site/people.lua")
local json = require "runtime.json"
local redis = require "runtime.redis"
local streaming = require "runtime.streaming"

describe("the broadcaster", function()
  it("is for models only, and asks strangers to sign in", function()
    assert.equal(404, people.signed_in(people.account()):get("/studio/broadcast").status)
    assert.equal("/login", people.client():get("/studio/broadcast").url:match("^[^?]*"))
  end)

  it("may use camera and microphone on its own page and nowhere else", function()
    local _, owner = people.model()
    local client = people.signed_in(owner)
    local function policy(path)
      local headers = client:get(path).headers
      return headers["Permissions-Policy"] or headers["permissions-policy"]
    end
    assert.is_truthy(policy("/studio/broadcast"):find("camera=(self), microphone=(self)", 1, true))
    assert.is_truthy(policy("/studio"):find("camera=(), microphone=()", 1, true))
  end)

  it("shows every text that its script says", function()
    local _, owner = people.model()
    local page = people.signed_in(owner):get "/studio/broadcast"
    assert.equal(200, page.status)
    for name, text in page.body:gmatch('<span data%-name="([%w_]+)">([^<]*)</span>') do
      assert.is_nil(text:find("^broadcast%."), name)
      assert.not_equal("", text)
    end
  end)

  it("gives an approved model a token for her own room, another each time", function()
    local model, owner = people.model()
    local client = people.signed_in(owner)
    local fields = client:get("/studio/broadcast"):form().fields
    local function token() return client:post("/studio/broadcast/token", { csrf_token = fields.csrf_token }) end
    local first, second = token(), token()
    assert.equal(200, first.status)
    local one, two = first.body:match('"token":"([^"]+)"'), second.body:match('"token":"([^"]+)"')
    assert.equal(model.slug, one:match("^([^.]+)%."))
    assert.not_equal(one, two)
    -- It is no playback ticket.
    local terms, reason = streaming.read_ticket(one)
    assert.is_nil(terms)
    assert.equal("malformed", reason)
  end)

  it("gives no token before approval, nor without the form's own", function()
    local _, owner = people.model { state = "submitted" }
    local client = people.signed_in(owner)
    local page = client:get "/studio/broadcast"
    assert.is_truthy(page:has("going live is possible once you are approved"))
    local fields = page:form().fields
    assert.equal(403, client:post("/studio/broadcast/token", { csrf_token = fields.csrf_token }).status)
    local _, other = people.model()
    assert.equal(403, people.signed_in(other):post("/studio/broadcast/token", {}).status)
  end)

  it("lets her end or take over what her other program sends, and nobody else's", function()
    local model, owner = people.model()
    local client = people.signed_in(owner)
    local stranger = people.signed_in(people.account())
    assert.is_truthy(client:get("/studio/broadcast").body:find('class="notice warn elsewhere hidden"', 1, true))
    redis.call("HSET", "live:" .. model.slug, "state", "live")
    local page = client:get "/studio/broadcast"
    assert.is_truthy(page.body:find('class="notice warn elsewhere"', 1, true))
    local token = page:form().fields.csrf_token
    local orders <close> = redis.subscribe("ctl:hooks")
    for _, action in ipairs { "take", "end" } do
      local answer = client:post("/studio/broadcast/elsewhere", { csrf_token = token, action = action })
      assert.equal("/studio/broadcast", answer.url)
    end
    assert.equal(404, stranger:get("/studio/broadcast").status)
    redis.call("DEL", "live:" .. model.slug)
    for _, reason in ipairs { "taken over", "ended" } do
      local order
      repeat order = json.decode(assert(orders:receive(5))) until order.slug == model.slug
      assert.same({ "drop", "publisher", reason }, { order["do"], order.who, order.reason })
    end
  end)

  it("makes no token without an owner", function()
    assert.has_error(function() streaming.ingest_token { slug = "luna", model = 1 } end)
    assert.has_error(function() streaming.ingest_token { slug = "luna", account = 1 } end)
    assert.has_error(function() streaming.ingest_token { slug = "../x", model = 1, account = 1 } end)
  end)
end)
