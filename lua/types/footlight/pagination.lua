---@meta footlight.pagination
--- Pages of a list, whose number is in the address.
local pagination = {}

---@class Pages
---@field page integer
---@field size integer
---@field offset integer
---@field pages integer after finish
---@field previous string? address, after finish
---@field next string? address, after finish
local Pages = {}

--- The address of another page.
---@param page integer
---@return string
function Pages:url(page) end

--- Adds total, pages, previous and next.
---@param total integer
---@return Pages
function Pages:finish(total) end

--- A bad page is 1; beyond `most` it is a 404.
---@param req Request
---@param options? { size: integer?, most: integer?, parameter: string? }
---@return Pages
function pagination.read(req, options) end

return pagination
