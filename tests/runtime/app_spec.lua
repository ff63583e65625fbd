-- The application from the request to the response, with requests made by hand: no socket, and the
-- sessions in a table.
local app = require "footlight.app"
local form = require "footlight.form"
local secret = require "footlight.secret"
local testing = require "footlight.testing"
local view = require "footlight.view"

local templates = {
  ["footlight/csrf.html"] = '<input name="{{ name }}" value="{{ token }}">',
  ["footlight/error.html"] = "DEV {{ message }} {{ file }}:{{ line }}"
    .. "{% for item in source %}{% if item.here %} HERE {{ item.text }}{% end %}{% end %}",
  ["errors/page.html"] = "{{ status }} {{ heading }} {{ detail }}",
  ["errors/needy.html"] = "{{ site.name }}",
  ["page.html"] = "{{ greeting }} {{ account and account.name or 'guest' }}"
    .. "{% for flash in flashes %} [{{ flash.kind }}:{{ flash.text }}]{% end %}",
  ["form.html"] = "{{ csrf_field() }}",
}

local accounts = {
  [1] = { id = 1, name = "ann", role = "viewer", state = "active" },
  [2] = { id = 2, name = "root", role = "admin", state = "active" },
}

local sessions, rows
local function new_sessions()
  rows = {}
  return {
    by_token_hash = function(hash) return rows[hash] end,
    create = function(row)
      row.id = row.token_hash
      rows[row.token_hash] = row
      return row
    end,
    revoke = function(id) rows[id] = nil end,
    touch = function() end,
  }
end

local function request(method, target, more)
  local path, query = target:match("^([^?]*)%??(.*)$")
  local req = {
    method = method, path = path, raw_path = path, target = target, query = {}, headers = {},
    cookies = {}, remote = "192.0.2.1", secure = false, id = "req-1", has_body = method == "POST",
    fields_sent = {},
  }
  for name, value in query:gmatch("([^&=]+)=([^&]*)") do
    req.query[name] = value:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  end
  req.headers.host = "site.test"
  for name, value in pairs(more or {}) do req[name] = value end
  function req:form() return self.fields_sent end
  return req
end

local function body(response) return tostring(response.body) end

local function cookie_of(response, name)
  for _, text in ipairs(response.headers["Set-Cookie"] or {}) do
    local value = text:match("^" .. name:gsub("%-", "%%-") .. "=([^;]*)")
    if value then return value, text end
  end
end

describe("the application", function()
  local exports, handled

  setup(function()
    sessions = package.loaded["store.sessions"]
    assert(view.load(templates))
  end)
  teardown(function()
    package.loaded["store.sessions"] = sessions
    view.load()
  end)

  local function make(options)
    options = options or {}
    options.account = function(id) return accounts[id] end
    options.context = options.context or function() return { greeting = "Hi" } end
    options.pages = { options.page or function(site)
      site:get("/", function(req) return req:render("page") end)
      site:get("/form", function(req) return req:render("form") end)
      site:post("/form", function(req)
        handled = req:fields()
        return req:redirect("/")
      end)
      site:get("/mine", { signed_in = true }, function(req) return req:render("page") end)
      site:get("/admin", { signed_in = true, role = "admin" }, function(req)
        return req:render("page")
      end)
      site:get("/hidden", { role = "admin" }, function(req) return req:render("page") end)
      site:get("/money", { permission = "admin.ledger" }, function(req)
        return req:render("page")
      end)
      site:get("/in", { guest = true }, function(req)
        req:sign_in(accounts[tonumber(req.query.as)])
        req:flash("Welcome", "success")
        return req:redirect(req:next_path("/"))
      end)
      site:get("/out", function(req)
        req:sign_out()
        return req:redirect("/")
      end)
      site:get("/missing", function(req) return req:not_found() end)
      site:get("/bug", function() return nil + 1 end)
      site:get("/nothing", function() end)
      site:get("/away", function(req) return req:redirect(req.query.to) end)
      site:post("/hook", { csrf = false }, function(req) return req:text_response("ok") end)
      site:get("/slow", function(req) return req:too_many(7) end)
      site:get("/core", function() error({ status = 413, reason = "too large" }, 0) end)
      site:get("/studio", { camera = true, cache = "public, max-age=60" }, function(req)
        return req:text_response("ok")
      end)
      site:post("/tip", { csrf = false }, function(req)
        local values, errors = form.define({ { "amount", form.integer { max = 5 } } }):read(req)
        return req:text_response(errors and errors.amount or tostring(values.amount), errors and 422)
      end)
    end }
    exports = app.new(options)
    return exports
  end

  before_each(function()
    package.loaded["store.sessions"] = new_sessions()
    handled = nil
    make()
  end)

  local function send(method, target, more)
    return exports.on_request(request(method, target, more))
  end

  -- Signs in and returns the cookies of the browser.
  local function signed_in(id)
    local response = send("GET", "/in?as=" .. id)
    return { session = cookie_of(response, "session") }
  end

  local function with_token(cookies, more)
    local page = send("GET", "/form", { cookies = cookies })
    local sent = { cookies = {}, headers = { host = "site.test" }, fields_sent = {} }
    for name, value in pairs(cookies or {}) do sent.cookies[name] = value end
    sent.cookies.guest = cookie_of(page, "guest")
    sent.fields_sent.csrf_token = body(page):match('value="(%x+)"')
    for name, value in pairs(more or {}) do sent.headers[name] = value end
    return sent
  end

  it("renders a page with the site's context", function()
    local response = send("GET", "/")
    assert.equal(200, response.status)
    assert.equal("Hi guest", body(response))
    assert.equal("text/html; charset=utf-8", response.headers["Content-Type"])
  end)

  it("sends the security headers with everything, errors too", function()
    testing.expect_log("request.failed")
    testing.expect_log "request%.failed"
    for _, path in ipairs { "/", "/missing", "/bug", "/none" } do
      local headers = send("GET", path).headers
      assert.matches("default%-src 'none'", headers["Content-Security-Policy"], 1, false)
      assert.matches("frame%-ancestors 'none'", headers["Content-Security-Policy"])
      assert.equal("nosniff", headers["X-Content-Type-Options"])
      assert.equal("same-origin", headers["Referrer-Policy"])
      assert.equal("DENY", headers["X-Frame-Options"])
      assert.equal("private, no-store", headers["Cache-Control"])
      assert.matches("camera=%(%)", headers["Permissions-Policy"])
      assert.is_nil(headers["Strict-Transport-Security"])
    end
    assert.matches("max%-age=63072000",
      send("GET", "/", { secure = true }).headers["Strict-Transport-Security"])
  end)

  it("lets a route ask for the camera and for a cache", function()
    local headers = send("GET", "/studio").headers
    assert.matches("camera=%(self%)", headers["Permissions-Policy"])
    assert.equal("public, max-age=60", headers["Cache-Control"])
  end)

  it("answers what is not there, in HTML or as a problem", function()
    local response = send("GET", "/none")
    assert.equal(404, response.status)
    assert.matches("^404 ", body(response))
    local problem = send("GET", "/none", { headers = { accept = "application/json" } })
    assert.equal(404, problem.status)
    assert.equal("application/problem+json", problem.headers["Content-Type"])
    assert.matches('"status":404', body(problem))
  end)

  it("names the methods that a path has", function()
    local response = send("DELETE", "/form")
    assert.equal(405, response.status)
    assert.equal("GET, HEAD, OPTIONS, POST", response.headers["Allow"])
    response = send("OPTIONS", "/form")
    assert.equal(204, response.status)
    assert.equal("GET, HEAD, OPTIONS, POST", response.headers["Allow"])
  end)

  it("takes a slash off the end of a path, with its query", function()
    local response = send("GET", "/form/?a=1")
    assert.equal(308, response.status)
    assert.equal("/form?a=1", response.headers["Location"])
  end)

  it("answers a bug with 500 and tells nobody where it was", function()
    testing.expect_log "request%.failed"
    testing.expect_log("request.failed")
    local response = send("GET", "/bug")
    assert.equal(500, response.status)
    assert.not_matches("app_spec", body(response))
    assert.equal(500, send("GET", "/nothing").status)
  end)

  it("shows a developer the message, the place and its line", function()
    testing.expect_log "request%.failed"
    testing.expect_log("request.failed")
    make { development = true, page = function(site)
      site:get("/bug", function(req) return (require("footlight.i18n").number("x", req.locale)) end)
    end }
    local response = send("GET", "/bug")
    assert.equal(500, response.status)
    assert.matches("^DEV ", body(response))
    assert.matches("HERE ", body(response))
    assert.matches("lua/footlight/i18n.lua:%d+", body(response))
  end)

  it("falls back to a line of text when the error page itself is broken", function()
    testing.expect_log "request%.failed"
    testing.expect_log "request%.error_page_failed"
    testing.expect_log("request%.")
    make { errors = "errors/needy", context = function() error("the context is broken") end }
    local response = send("GET", "/")
    assert.equal(500, response.status)
    assert.equal("text/plain; charset=utf-8", response.headers["Content-Type"])
    assert.equal("DENY", response.headers["X-Frame-Options"])
  end)

  it("passes on the statuses that the core raises while it reads", function()
    assert.equal(413, send("GET", "/core").status)
  end)

  it("says when to try again", function()
    local response = send("GET", "/slow")
    assert.equal(429, response.status)
    assert.equal("7", response.headers["Retry-After"])
  end)

  it("redirects to local paths only", function()
    testing.expect_log "request%.failed"
    testing.expect_log("request.failed")
    for _, path in ipairs { "//evil.example", "https://evil.example", "/%5Cevil.example", "/a%0d%0ab", "" } do
      assert.equal(500, send("GET", "/away?to=" .. path).status, path)
    end
    local response = send("GET", "/away?to=/r/ava%3Fx=1")
    assert.equal(303, response.status)
    assert.equal("/r/ava?x=1", response.headers["Location"])
  end)

  it("goes on to `next` only if it is a local path", function()
    assert.equal("/r/ava", send("GET", "/in?as=1&next=/r/ava").headers["Location"])
    for _, path in ipairs { "//evil.example", "https:evil", "/\\evil.example", "/%5C/evil", "r/ava" } do
      assert.equal("/", send("GET", "/in?as=1&next=" .. path).headers["Location"], path)
    end
  end)

  describe("sessions", function()
    it("are found by the hash of a token that only the cookie holds", function()
      local cookies = signed_in(1)
      assert.truthy(rows[secret.hash(cookies.session)])
      assert.equal("Hi ann", body(send("GET", "/", { cookies = cookies })))
    end)

    it("have a cookie that scripts and other sites cannot use", function()
      local _, text = cookie_of(send("GET", "/in?as=1"), "session")
      assert.matches("HttpOnly", text)
      assert.matches("SameSite=Lax", text)
      assert.matches("Path=/;", text)
      local value, secure = cookie_of(send("GET", "/in?as=1", { secure = true }), "__Host-session")
      assert.truthy(value)
      assert.matches("; Secure", secure)
    end)

    it("are new at each signing in, and the one before is void", function()
      local before = signed_in(1)
      make { page = function(site)
        site:get("/again", function(req)
          req:sign_in(accounts[2])
          return req:redirect("/")
        end)
        site:get("/", function(req) return req:render("page") end)
      end }
      local after = { session = cookie_of(send("GET", "/again", { cookies = before }), "session") }
      assert.not_equal(before.session, after.session)
      assert.equal("Hi guest", body(send("GET", "/", { cookies = before })))
      assert.equal("Hi root", body(send("GET", "/", { cookies = after })))
    end)

    it("end with signing out", function()
      local cookies = signed_in(1)
      local response = send("GET", "/out", { cookies = cookies })
      local _, text = cookie_of(response, "session")
      assert.matches("Max%-Age=0", text)
      assert.equal("Hi guest", body(send("GET", "/", { cookies = cookies })))
    end)

    it("are not made of what somebody made up", function()
      for _, token in ipairs { "x", ("a"):rep(43), ("a"):rep(5000), "a b", "" } do
        assert.equal("Hi guest", body(send("GET", "/", { cookies = { session = token } })))
      end
    end)

    it("leave a visitor a guest when the store is away, and pages that need one say 503", function()
      testing.expect_log "session%.unknown"
      testing.expect_log("session.unknown")
      local cookies = signed_in(1)
      package.loaded["store.sessions"].by_token_hash = function() error("mariadb: away") end
      assert.equal("Hi guest", body(send("GET", "/", { cookies = cookies })))
      assert.equal(503, send("GET", "/mine", { cookies = cookies }).status)
    end)
  end)

  describe("guards", function()
    it("send guests to sign in, and back", function()
      local response = send("GET", "/mine?a=b")
      assert.equal(303, response.status)
      assert.equal("/login?next=%2Fmine%3Fa%3Db", response.headers["Location"])
      assert.equal(200, send("GET", "/mine", { cookies = signed_in(1) }).status)
    end)

    it("hide from others what is not theirs", function()
      for _, path in ipairs { "/hidden", "/money", "/admin" } do
        assert.equal(404, send("GET", path, { cookies = signed_in(1) }).status, path)
        assert.equal(200, send("GET", path, { cookies = signed_in(2) }).status, path)
      end
      assert.equal(404, send("GET", "/hidden").status)
      assert.equal(303, send("GET", "/admin").status)
    end)

    it("send those who are signed in away from the pages of guests", function()
      local response = send("GET", "/in?as=1", { cookies = signed_in(1) })
      assert.equal("/", response.headers["Location"])
      assert.is_nil(cookie_of(response, "session"))
    end)
  end)

  describe("a form", function()
    it("is accepted with the token of the page, from a guest and from an account", function()
      assert.equal(303, exports.on_request(request("POST", "/form", with_token())).status)
      assert.truthy(handled)
      assert.equal(303, exports.on_request(request("POST", "/form", with_token(signed_in(1)))).status)
    end)

    it("is refused without it, and the handler does not run", function()
      local sent = with_token()
      for _, token in ipairs { "", ("0"):rep(#sent.fields_sent.csrf_token), "zz", "x" } do
        sent.fields_sent.csrf_token = token
        assert.equal(403, exports.on_request(request("POST", "/form", sent)).status)
      end
      sent.fields_sent.csrf_token = nil
      assert.equal(403, exports.on_request(request("POST", "/form", sent)).status)
      assert.is_nil(handled)
    end)

    it("is refused with somebody else's token", function()
      local theirs = with_token()
      local own = with_token(signed_in(1))
      own.fields_sent.csrf_token = theirs.fields_sent.csrf_token
      assert.equal(403, exports.on_request(request("POST", "/form", own)).status)
    end)

    it("is refused from another site, whatever token it has", function()
      for name, value in pairs {
        origin = "https://evil.example", ["sec-fetch-site"] = "cross-site",
        referer = "https://evil.example/site.test",
      } do
        local sent = with_token(nil, { [name] = value })
        assert.equal(403, exports.on_request(request("POST", "/form", sent)).status, name)
      end
      local null = with_token(nil, { origin = "null" })
      assert.equal(403, exports.on_request(request("POST", "/form", null)).status)
      local same = with_token(nil, { origin = "http://site.test" })
      assert.equal(303, exports.on_request(request("POST", "/form", same)).status)
    end)

    it("may have its token in a header, for scripts", function()
      local sent = with_token()
      sent.headers["x-csrf-token"] = sent.fields_sent.csrf_token
      sent.fields_sent = {}
      assert.equal(303, exports.on_request(request("POST", "/form", sent)).status)
    end)

    it("has another token each time, all of them good", function()
      local first = with_token()
      local cookies = { guest = first.cookies.guest }
      local page = send("GET", "/form", { cookies = cookies })
      local second = body(page):match('value="(%x+)"')
      assert.is_nil(cookie_of(page, "guest")) -- the cookie stays
      assert.not_equal(first.fields_sent.csrf_token, second)
      first.fields_sent.csrf_token = second
      assert.equal(303, exports.on_request(request("POST", "/form", first)).status)
    end)

    it("needs none where a route says so", function()
      assert.equal(200, send("POST", "/hook").status)
    end)

    it("comes back with its errors", function()
      local response = send("POST", "/tip", { fields_sent = { amount = "9" } })
      assert.equal(422, response.status)
      assert.equal("At most 5.", body(response))
      assert.equal(400, send("POST", "/tip", { fields_sent = { amount = { "1", "2" } } }).status)
    end)
  end)

  describe("a flash", function()
    it("is shown once, on the next page", function()
      local response = send("GET", "/in?as=1")
      local cookies = { flash = cookie_of(response, "flash") }
      local page = send("GET", "/", { cookies = cookies })
      assert.matches("%[success:Welcome%]", body(page))
      local _, text = cookie_of(page, "flash")
      assert.matches("Max%-Age=0", text)
    end)

    it("is kept over a page that does not show it, and cannot be made up", function()
      local response = send("GET", "/in?as=1")
      local flash = cookie_of(response, "flash")
      assert.is_nil(cookie_of(send("GET", "/studio", { cookies = { flash = flash } }), "flash"))
      local forged = flash:gsub("Welcome", "Evil")
      assert.not_matches("Evil", body(send("GET", "/", { cookies = { flash = forged } })))
    end)
  end)

  it("checks its templates as a part of each reload", function()
    make { errors = "errors/none" }
    assert.error_matches(function() exports.check() end, "does not exist")
    assert(view.load(templates))
  end)
end)
