-- Policy of the media service: who may watch on the web. As in hooks/init.lua, `on_play(info)` is
-- asked once for each ticket, before its first byte, if this table defines it.

local regions = require "site.regions"

local media = {}

function media.on_play(info) return regions.may_watch(info) end

return media
