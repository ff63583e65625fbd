---@meta runtime.cache
--- One for the process, outlives reloads, bounded to 32 MiB: the least used go first. Values are kept as
--- JSON, so they come back as copies.
local cache = {}

---@param key string
---@return any
function cache.get(key) end

---@param key string
---@param value any
---@param seconds? number (60)
function cache.set(key, value, seconds) end

---@param key string
function cache.delete(key) end

---@param prefix? string
function cache.clear(prefix) end

--- The cached value, or fn's, which may wait; nil is not cached.
---@param key string
---@param seconds number
---@param fn fun(): any
---@return any
function cache.fetch(key, seconds, fn) end

return cache
