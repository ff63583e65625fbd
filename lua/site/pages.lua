--- What hardly changes: help, terms, privacy, robots, site map; the theme; the mailbox in development.
local config = require "runtime.config"
local documents = require "site.documents"
local form = require "footlight.form"
local mailbox = require "site.mailbox"
local present = require "site.present"
local rooms = require "store.rooms"

local YEAR = 365 * 24 * 3600
local theme_form = form.define { { "theme", form.choice { "auto", "light", "dark" } } }

local function document(name)
  return function(req)
    return req:render("site/document", { document = documents.find(name, req.locale) })
  end
end

return function(site)
  site:get("/help", { name = "help" }, document("help"))
  site:get("/legal/terms", { name = "terms" }, document("terms"))
  site:get("/legal/privacy", { name = "privacy" }, document("privacy"))

  -- No token: it would make every page of a guest its own, and this changes nothing but a colour.
  site:post("/theme", { name = "theme", csrf = false }, function(req)
    local values, errors = theme_form:read(req)
    if errors then req:fail(422) end
    if values.theme == "auto" then
      req:clear_cookie("theme")
    else
      req:set_cookie("theme", values.theme, { max_age = YEAR })
    end
    return req:redirect(req:next_path("/"))
  end)

  site:get("/robots.txt", { cache = "public, max-age=3600" }, function(req)
    local lines = { "User-agent: *", "Disallow: /account", "Disallow: /admin", "Disallow: /credits",
      "Disallow: /studio", "Disallow: /search", "", "Sitemap: " .. present.site().url .. "/sitemap.xml", "" }
    return req:text_response(table.concat(lines, "\n"))
  end)

  site:get("/sitemap.xml", { cache = "public, max-age=600" }, function(req)
    return req:render("site/sitemap.xml", { rooms = rooms.listed() })
  end)

  if config.development then
    site:get("/mailbox", { name = "mailbox" }, function(req)
      return req:render("site/mailbox", { mails = mailbox.latest(50, req.t) })
    end)
  end
end
