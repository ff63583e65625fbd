local router = require "footlight.router"

local function named(name) return function() return name end end

describe("the router", function()
  local site

  local function found(method, path)
    local route, more = site:match(method, path)
    return route and route.handler(), more
  end

  before_each(function()
    site = router.new()
    site:get("/", named "home")
    site:get("/r/:slug", { name = "room" }, named "room")
    site:post("/r/:slug", named "say")
    site:get("/r/new", named "new")
    site:get("/files/*path", { name = "file" }, named "file")
    site:get("/n/:id", { where = { id = "%d+" } }, named "number")
    site:websocket("/live", named "socket")
  end)

  it("prefers literal segments to parameters, whatever the order", function()
    assert.equal("new", (found("GET", "/r/new")))
    local name, parameters = found("GET", "/r/ava")
    assert.equal("room", name)
    assert.same({ slug = "ava" }, parameters)
  end)

  it("decodes parameters after splitting, so that an encoded slash stays inside", function()
    local _, parameters = found("GET", "/r/a%2Fb%20%C3%BC")
    assert.same({ slug = "a/b ü" }, parameters)
  end)

  it("gives the rest of a path with its slashes", function()
    local _, parameters = found("GET", "/files/a/b.txt")
    assert.same({ path = "a/b.txt" }, parameters)
  end)

  it("has no page for malformed escapes, control characters and broken UTF-8", function()
    for _, path in ipairs { "/r/%", "/r/%zz", "/r/%00", "/r/%0a", "/r/%ff", "/r/%c3%28" } do
      local name, more = found("GET", path)
      assert.is_nil(name)
      assert.equal(404, more.status, path)
    end
  end)

  it("holds a parameter to its pattern as a whole", function()
    assert.equal("number", (found("GET", "/n/12")))
    local _, more = found("GET", "/n/12x")
    assert.equal(404, more.status)
  end)

  it("answers HEAD with the GET route", function()
    assert.equal("home", (found("HEAD", "/")))
  end)

  it("names the allowed methods for others and for OPTIONS", function()
    local _, more = found("DELETE", "/r/ava")
    assert.same({ status = 405, allow = "GET, HEAD, OPTIONS, POST" }, more)
    _, more = found("OPTIONS", "/r/ava")
    assert.same({ status = 204, allow = "GET, HEAD, OPTIONS, POST" }, more)
  end)

  it("sends a path with a slash at its end to the one without", function()
    local _, more = found("GET", "/r/ava/")
    assert.same({ status = 308, path = "/r/ava" }, more)
    _, more = found("GET", "/nothing/")
    assert.equal(404, more.status)
  end)

  it("never redirects to a path that begins with two slashes", function()
    site:get("/*all", named "all")
    local _, more = found("GET", "//evil.example/")
    assert.equal(404, more.status)
  end)

  it("knows WebSockets apart", function()
    assert.equal("socket", (found("WEBSOCKET", "/live")))
  end)

  it("has a bound for segments and length", function()
    local _, more = found("GET", ("/a"):rep(1000))
    assert.equal(404, more.status)
    _, more = found("GET", "/" .. ("a"):rep(5000))
    assert.equal(404, more.status)
  end)

  it("makes addresses from names", function()
    assert.equal("/r/a%2Fb", site:url_for("room", { slug = "a/b" }))
    assert.equal("/r/ava?page=2&q=a%26b#top",
      site:url_for("room", { slug = "ava", page = 2, q = "a&b", _anchor = "top" }))
    assert.equal("/files/a/b%20c", site:url_for("file", { path = "a/b c" }))
  end)

  it("says what is missing from an address", function()
    assert.error_matches(function() site:url_for("room", {}) end, "wants 'slug'")
    assert.error_matches(function() site:url_for("nope") end, "no route is named 'nope'")
  end)

  it("gives a group's options and prefix to its routes", function()
    site:group({ prefix = "/admin", role = "admin" }, function(admin)
      admin:get("/", named "dashboard")
      admin:get("/open", { role = false }, named "open")
      admin:group({ prefix = "/models" }, function(models) models:get("/:id", named "model") end)
    end)
    local route = site:match("GET", "/admin")
    assert.equal("admin", route.options.role)
    assert.is_false(site:match("GET", "/admin/open").options.role)
    local model, parameters = site:match("GET", "/admin/models/7")
    assert.equal("admin", model.options.role)
    assert.same({ id = "7" }, parameters)
  end)

  it("refuses mistakes where they are made", function()
    assert.error_matches(function() site:get("/r/:slug", named "again") end, "already a route")
    assert.error_matches(function() site:get("x", named "x") end, "begins with one slash")
    assert.error_matches(function() site:get("/x/", named "x") end, "none at its end")
    assert.error_matches(function() site:get("/*a/b", named "x") end, "stands at the end")
    assert.error_matches(function() site:get("/y", "text") end, "handler is a string")
    assert.error_matches(function()
      site:get("/z", { name = "room" }, named "z")
    end, "belongs to /r/:slug")
  end)
end)
