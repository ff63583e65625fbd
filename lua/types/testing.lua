---@meta runtime.testing
--- For the test runner (footlight.testing); the test service only.
local testing = {}

---@param on boolean log lines are kept for take_log
function testing.capture(on) end

---@return { level: string, text: string }[]
function testing.take_log() end

--- A deadline for the running coroutine from now on, or none; forgets one that has passed.
---@param seconds? number
function testing.limit(seconds) end

---@param key string
---@param value string|number|boolean
---@return string? before
function testing.set(key, value) end

---@return string path of the running program
function testing.program() end

---@param microseconds integer added to the wall clock
function testing.clock_offset(microseconds) end

--- `database`: connections to MariaDB in use; `transfers`: outgoing requests; `connections`: to the in-process server.
---@return { handles: integer, descriptors: integer, processes: integer, database: integer, transfers: integer, connections: integer }
function testing.figures() end

--- Brings all timers of Lua code nearer, up to the first that is then due, and at most by so much.
---@param milliseconds integer
---@return integer milliseconds by how much
function testing.skip(milliseconds) end

return testing
