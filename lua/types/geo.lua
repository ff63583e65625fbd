---@meta runtime.geo
--- Where an address is, by the file of ranges that geo.file names (docs/streaming.md).
local geo = {}

--- Whether countries are known here: there is a file, and it could be read.
---@return boolean
function geo.known() end

--- The two letters of the country that an address is in; nil if nobody knows.
---@param address string
---@return string?
function geo.country(address) end

--- Whether an address is one of these, or in one of these networks: "10.0.0.0/8, 192.0.2.7, 2001:db8::/32".
---@param address string
---@param networks string
---@return boolean
function geo.inside(address, networks) end

--- Whether each entry of a list is an address or a network, and how many there are.
---@param networks string
---@return boolean good, integer count
function geo.networks(networks) end

return geo
