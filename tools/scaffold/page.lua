--- The page /@PATH@.
local form = require "footlight.form"

local entry = form.define {
  { "message", form.text { max = 200, label = "Message" } },
}

local function page(req, values, errors, status)
  return req:render("@AREA@/@NAME@", { values = values, errors = errors }, status)
end

return function(site)
  site:get("/@PATH@", { name = "@NAME@" }, function(req)
    return page(req, entry:fresh())
  end)

  site:post("/@PATH@", {
    limit = { name = "@NAME@", count = 30, seconds = 60, by = "ip" },
  }, function(req)
    local values, errors = entry:read(req)
    if errors then return page(req, values, errors, 422) end
    req:flash("You wrote: " .. values.message, "success")
    return req:redirect("/@PATH@")
  end)
end
