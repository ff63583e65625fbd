-- What `footlight check` finds, in sites that are made up here.
local check = require "footlight.check"
local i18n = require "footlight.i18n"
local router = require "footlight.router"
local view = require "footlight.view"

local function collect(run)
  local list = {}
  run(function(path, line, text, warning)
    list[#list + 1] = ("%s:%d: %s%s"):format(path, line, warning and "warning: " or "", text)
  end)
  table.sort(list)
  return list
end

describe("footlight check", function()
  teardown(function()
    view.load()
    i18n.load()
  end)

  it("names the line of Lua that does not compile", function()
    local found = collect(function(add)
      check.lua(add, {
        { path = "lua/site/good.lua", text = "return 1" },
        { path = "lua/site/bad.lua", text = "\nreturn return" },
      })
    end)
    assert.equal(1, #found)
    assert.matches("^lua/site/bad.lua:2: ", found[1])
  end)

  it("finds templates that are named and not there, and those that nobody names", function()
    assert(view.load {
      ["site/a.html"] = "{% extends 'layouts/l' %}{% block x %}{% end %}",
      ["layouts/l.html"] = "{% block x %}{% end %}{% include 'parts/p' %}", ["parts/p.html"] = "",
      ["site/lost.html"] = "", ["mail/hello.txt"] = "",
    })
    local found = collect(function(add)
      check.template_names(add, { { path = "lua/site/x.lua", text = [[
        return req:render("site/a", {})
        req:render("site/none")
        mail.send { template = "mail/hello" }
        mail.send { template = "mail/none" }
      ]] } }, {})
    end)
    assert.same({
      "lua/site/x.lua:2: there is no template 'site/none'",
      "lua/site/x.lua:4: there is no template 'mail/none.txt'",
      "templates/site/lost.html:1: warning: nothing uses this template",
    }, found)
  end)

  it("finds names of routes that nobody has given", function()
    local site = router.new()
    site:get("/r/:slug", { name = "room" }, function() end)
    local found = collect(function(add)
      check.route_names(add, { { path = "t.html", text = "{{ url_for('room') }}\n{{ url_for(\"lobby\") }}" } }, site)
    end)
    assert.same({ "t.html:2: no route is named 'lobby'" }, found)
  end)

  it("finds routes to which nothing leads", function()
    local site = router.new()
    local function page() end
    site:get("/", page)
    site:get("/linked", page)
    site:get("/lost", page)
    site:get("/by-name/:id", { name = "thing" }, page)
    site:get("/r/:slug/tips/:id", page)
    site:get("/r/:slug/gone", page)
    site:post("/hook", { csrf = false }, page)
    site:group({ prefix = "/admin" }, function(admin) admin:get("/a-b", page) end)
    local found = collect(function(add)
      check.unused_routes(function(_, _, text, warning) add("routes", 1, text, warning) end, {
        { path = "a.lua", text = 'site:get("/lost", f) site:get("/linked", f) return "/r/" .. slug .. "/tips/" .. id' },
        { path = "t.html", text = "<a href='/linked'></a> {{ url_for('thing') }} <a href='/admin/a-b'></a>" },
      }, site)
    end)
    assert.same({ "routes:1: warning: nothing leads to GET /lost", "routes:1: warning: nothing leads to GET /r/:slug/gone" },
      found)
  end)
end)
