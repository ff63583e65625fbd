---@meta footlight.rate_limit
--- How often somebody may do something, counted in the main Redis for all instances together.
local rate_limit = {}

--- Counts one use. When Redis is away everything is allowed, and logged.
---@param name string
---@param key string
---@param count integer
---@param seconds integer
---@return boolean allowed
---@return integer? wait seconds
function rate_limit.hit(name, key, count, seconds) end

--- Forgets what was counted.
---@param name string
---@param key string
function rate_limit.clear(name, key) end

return rate_limit
