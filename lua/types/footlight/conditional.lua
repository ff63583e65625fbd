---@meta footlight.conditional
--- Conditional requests (RFC 9110, 13). Handlers use req:unchanged.
local conditional = {}

--- Seconds since 1970 of "Tue, 24 Nov 2026 10:00:00 GMT", or nil.
---@param text any
---@return integer?
function conditional.parse_date(text) end

---@param seconds number
---@return string
function conditional.date(seconds) end

--- The validators of the answer as headers, and whether the client has it already.
---@param req Request
---@param is { etag: string?, modified: number? }
---@return table headers
---@return boolean has
function conditional.check(req, is) end

return conditional
