-- Policy of the media service: who may watch on the web. As in hooks/init.lua, `on_play(info)` is
-- asked once for each ticket, before its first byte, if this table defines it.

local media = {}

return media
