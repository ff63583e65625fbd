---@meta runtime.json
--- Integers stay integers, up to 64 bits.
local json = {}

--- What null becomes, and what is written as null.
---@type lightuserdata
json.null = nil

--- Raises for what JSON cannot hold. The text may stand in a script.
---@param value any
---@return string
function json.encode(value) end

--- nil and the reason with its place for anything else than one JSON value.
---@param text string
---@param depth? integer how deep arrays and objects may nest (64)
---@return any value, string? reason
function json.decode(text, depth) end

--- Marks a table (a new one if none is given): written as [] when it is empty.
---@param list? table
---@return table
function json.array(list) end

return json
