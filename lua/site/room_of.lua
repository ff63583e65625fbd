--- The room that a page's address names, as pages show it. Ends the request with 404 where there is none, or
-- none for the place that it is asked from.
local live = require "site.live"
local present = require "site.present"
local regions = require "site.regions"
local rooms = require "store.rooms"

return function(req)
  local row = rooms.by_slug(req.params.slug)
  if not row or row.state ~= "approved" then req:not_found() end
  if regions.bar_room(req, row) then req:not_found(req.t "room.not_available") end
  return present.room(row, live.of(row.slug), req)
end
