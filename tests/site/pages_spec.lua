-- Pages and forms of guests and viewers, through the real server, good input and bad.
local accounts = require "store.accounts"
local billing = require "runtime.billing"
local config = require "runtime.config"
local people = dofile(config.root .. "/tests/site/people.lua")

local function fields(page, which) return page:form(which).fields end

describe("every page of a guest", function()
  it("answers with a title, one h1, a skip link and the security headers", function()
    local client = people.client()
    for _, path in ipairs { "/", "/tags/nothing", "/search?q=zzzz", "/login", "/signup", "/forgot",
      "/help", "/legal/terms", "/legal/privacy" } do
      local page = client:get(path)
      assert.equal(200, page.status, path)
      assert.is_truthy(page.body:find("<title>[^<]+ · ", 1), path)
      local _, headings = page.body:gsub("<h1[ >]", "")
      assert.equal(1, headings, path)
      assert.is_truthy(page.body:find('class="skip" href="#main"', 1, true), path)
      assert.is_truthy(page.headers["content-security-policy"]:find("default-src 'none'", 1, true), path)
      assert.is_nil(page.body:find(" style=", 1, true), path)
      assert.is_nil(page.body:find("<script>", 1, true), path)
    end
  end)

  it("of somebody with an account leads to the sign-in page, and back", function()
    local client = people.client()
    local page = client:get("/credits", { follow = false })
    assert.equal(303, page.status)
    assert.equal("/login?next=%2Fcredits", page.headers.location)
  end)

  it("of staff does not exist", function()
    local guest, viewer = people.client(), people.signed_in(people.account())
    for _, path in ipairs { "/admin", "/admin/models" } do
      assert.equal(404, guest:get(path).status)
      assert.equal(404, viewer:get(path).status)
    end
  end)
end)

describe("search", function()
  it("sends #tags to the page of the tag", function()
    assert.equal("/tags/music", people.client():get("/search?q=%23Music", { follow = false }).headers.location)
  end)
  it("finds a room by its name and escapes what was asked for", function()
    local model = people.model { stage_name = "Zebulon Quist" }
    local page = people.client():get("/search?q=zebulon")
    assert.is_truthy(page.body:find('href="/r/' .. model.slug .. '"', 1, true))
    page = people.client():get("/search?q=%3Cb%3E%22")
    assert.equal(200, page.status)
    assert.is_nil(page.body:find("<b>", 1, true))
  end)
  it("refuses a query of over a hundred characters, and pages beyond two hundred", function()
    assert.equal(400, people.client():get("/search?q=" .. ("a"):rep(101)).status)
    assert.equal(404, people.client():get("/?page=201").status)
    assert.equal(200, people.client():get("/?page=nonsense").status)
  end)
end)

describe("joining", function()
  local function filled(name)
    return { name = name, email = name .. "@example.org", password = people.password, adult = "yes",
      terms = "yes" }
  end

  -- As if the form had been open for a while.
  local function submit(client, values, age)
    local testing = require "footlight.testing"
    local page = client:get "/signup"
    testing.advance(age or 10)
    return client:submit(page, values, "/signup")
  end

  it("makes a pending account, whoever tells of it", function()
    local name = people.name()
    local page = submit(people.client(), filled(name))
    assert.equal("/signup/sent", page.url)
    assert.equal("pending", accounts.by_name(name).state)
  end)

  it("says the same for an address that is taken, and makes nothing", function()
    local known = people.account()
    local values = filled(people.name())
    values.email = known.email:upper()
    local page = submit(people.client(), values)
    assert.equal("/signup/sent", page.url)
    assert.is_nil(accounts.by_name(values.name))
  end)

  it("refuses what is wrong, field by field, and keeps what was typed but the password", function()
    local page = submit(people.client(), { name = "No!", email = "nowhere", password = "short" })
    assert.equal(422, page.status)
    for _, field in ipairs { "name", "email", "password", "adult", "terms" } do
      assert.is_truthy(page.body:find('href="#field-' .. field .. '"', 1, true), field)
      assert.is_truthy(page.body:find('id="error-' .. field .. '"', 1, true), field)
    end
    assert.equal("No!", fields(page, "/signup").name)
    assert.equal("", fields(page, "/signup").password)
    assert.is_nil(page.body:find("short", 1, true) and page.body:find('value="short"', 1, true))
  end)

  it("refuses forms that were filled in faster than anybody can", function()
    local name = people.name()
    assert.equal(422, submit(people.client(), filled(name), 0).status)
    assert.is_nil(accounts.by_name(name))
  end)

  it("takes no notice of programs that fill in the hidden field, and tells them so", function()
    local values = filled(people.name())
    values.website = "https://spam.example"
    assert.equal("/signup/sent", submit(people.client(), values).url)
    assert.is_nil(accounts.by_name(values.name))
  end)
end)

describe("confirming an address", function()
  it("needs the button: looking at the link does not use it up", function()
    local account = people.account { state = "pending", verified = false }
    local token = accounts.new_token(account.id, "activate", 3600)
    local client = people.client()
    local page = client:get("/activate?t=" .. token)
    assert.equal("pending", accounts.by_id(account.id).state)
    page = client:submit(page, {}, "/activate")
    assert.equal("/login", page.url:match("^[^?]*"))
    assert.equal("active", accounts.by_id(account.id).state)
    page = client:get("/activate?t=" .. token)
    assert.is_truthy(page:form "/activate/resend")
  end)
end)

describe("signing in", function()
  it("gives one answer for a wrong name and a wrong password", function()
    local account = people.account()
    local client = people.client()
    local function try(login)
      return client:submit(client:get "/login", { login = login, password = "wrong wrong wrong" }, "/login")
    end
    local known, unknown = try(account.name), try(people.name())
    assert.equal(422, known.status)
    assert.equal(422, unknown.status)
    local function summary(page) return page.body:match('class="error%-summary".-</div>') end
    assert.equal(summary(known), summary(unknown))
  end)

  it("goes on to a path of this site and to no other", function()
    local account = people.account()
    for wanted, got in pairs { ["/help"] = "/help", ["//evil.example"] = "/", ["/\\evil"] = "/",
      ["https://evil.example"] = "/" } do
      local client = people.client()
      local page = client:get "/login"
      local sent = fields(page, "/login")
      sent.login, sent.password, sent.next = account.name, people.password, wanted
      page = client:post("/login", sent, { follow = false })
      assert.equal(303, page.status)
      assert.equal(got, page.headers.location)
    end
  end)

  it("waits after five wrong passwords from one place, and not for others", function()
    local account = people.account()
    local client = people.client()
    local page
    for _ = 1, 6 do
      page = client:submit(client:get "/login", { login = account.name, password = "wrong wrong wrong" }, "/login")
    end
    assert.equal(429, page.status)
    assert.is_truthy(page.headers["retry-after"])
    people.signed_in(account)
  end)

  it("needs the form's own token", function()
    local account = people.account()
    local page = people.client():post("/login", { login = account.name, password = people.password })
    assert.equal(403, page.status)
  end)

  it("ends everywhere when the password is changed by mail", function()
    local account = people.account()
    local client = people.signed_in(account)
    local token = accounts.new_token(account.id, "reset", 3600)
    local other = people.client()
    local page = other:submit(other:get("/reset?t=" .. token), { password = "another good passphrase" }, "/reset")
    assert.equal("/login", page.url)
    assert.equal("/login", client:get("/account").url:match("^[^?]*"))
    assert.equal(303, other:get("/reset?t=" .. token, { follow = false }).status)
  end)
end)

describe("buying credits", function()
  local function buy(client, pack, outcome)
    local page = client:get "/credits"
    for _, form in ipairs(page:forms()) do
      if form.fields.pack == pack then page = client:post("/credits/buy", form.fields) end
    end
    assert.is_truthy(page.url:find("^/sandbox/pay/"), page.url)
    return client:submit(page, { outcome = outcome }, "/sandbox/pay/")
  end
  local function wallet(account)
    local now = billing.wallet(account.id)
    return now.paid, now.bonus
  end

  it("credits what was paid for, once, with the bonus apart", function()
    local account = people.account()
    local page = buy(people.signed_in(account), "regular", "twice")
    assert.is_truthy(page:has "Credited")
    assert.same({ 100000000, 5000000 }, { wallet(account) })
  end)

  it("credits nothing for any other outcome, and says what became of it", function()
    local shown = { declined = "Declined", cancelled = "Cancelled", pending = "Waiting for payment",
      expired = "Expired", wrong_amount = "Under review", wrong_currency = "Under review" }
    for outcome, text in pairs(shown) do
      local account = people.account()
      local page = buy(people.signed_in(account), "starter", outcome)
      assert.is_truthy(page:has(text), outcome .. ": " .. page:text())
      assert.same({ 0, 0 }, { wallet(account) }, outcome)
    end
  end)

  it("freezes the wallet when the bank disputes the payment", function()
    local account = people.account()
    buy(people.signed_in(account), "starter", "disputed")
    assert.is_true(billing.wallet(account.id).frozen)
  end)

  it("makes one order of a form that is sent twice, and refuses its key for another pack", function()
    local client = people.signed_in(people.account())
    local sent
    for _, form in ipairs(client:get("/credits"):forms()) do
      if form.fields.pack == "starter" then sent = form.fields end
    end
    local first = client:post("/credits/buy", sent)
    assert.equal(first.url, client:post("/credits/buy", sent).url)
    sent.pack = "large"
    assert.equal(409, client:post("/credits/buy", sent).status)
  end)

  it("needs a confirmed address", function()
    local client = people.signed_in(people.account { verified = false })
    local sent
    for _, form in ipairs(client:get("/credits"):forms()) do
      if form.fields.pack then sent = form.fields end
    end
    assert.equal(403, client:post("/credits/buy", sent).status)
  end)

  it("hides other people's orders", function()
    local page = buy(people.signed_in(people.account()), "starter", "declined")
    assert.equal(404, people.signed_in(people.account()):get(page.url).status)
  end)
end)

describe("tips", function()
  it("need a live room, and never go to oneself", function()
    local model, owner = people.model()
    local client = people.signed_in(people.account())
    local page = client:get("/r/" .. model.slug .. "/tip")
    page = client:submit(page, { amount = "5" }, "/tip")
    assert.equal(422, page.status)
    page = people.signed_in(owner):get("/r/" .. model.slug .. "/tip", { follow = false })
    assert.equal("/r/" .. model.slug, page.headers.location)
  end)

  it("are whole credits from 1 to 100,000", function()
    local model = people.model()
    local client = people.signed_in(people.account())
    for _, amount in ipairs { "", "0", "100001", "1.5", "-1", "1e3", "0x10" } do
      local page = client:get("/r/" .. model.slug .. "/tip")
      page = client:submit(page, { amount = amount }, "/tip")
      assert.equal(422, page.status, amount)
      assert.is_truthy(page.body:find('id="error-amount"', 1, true), amount)
    end
  end)
end)

describe("rooms", function()
  it("of models who are not approved do not exist", function()
    local model = people.model { state = "submitted" }
    assert.equal(404, people.client():get("/r/" .. model.slug).status)
  end)
  it("show a profile when nobody is on stage", function()
    local model = people.model { title = "Tonight: <nothing>", tags = { "quiet" } }
    local page = people.client():get("/r/" .. model.slug)
    assert.equal(200, page.status)
    assert.is_truthy(page.body:find("Tonight: &lt;nothing&gt;", 1, true))
    assert.is_truthy(page.body:find('href="/tags/quiet"', 1, true))
  end)
end)

describe("the account page", function()
  it("ends another session of one's own and nobody else's", function()
    local account = people.account()
    local here, there = people.signed_in(account), people.signed_in(account)
    local page = here:get "/account"
    local revoke = page:form "/revoke"
    page = here:post(revoke.action, revoke.fields)
    assert.equal(200, page.status)
    assert.equal("/login", there:get("/account").url:match("^[^?]*"))
    local stranger = people.signed_in(people.account())
    local other = stranger:get("/account"):form "/account/password"
    assert.equal(404, stranger:post(revoke.action, { csrf_token = other.fields.csrf_token }).status)
  end)
end)
