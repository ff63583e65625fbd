---@meta runtime.redis
--- The main Redis, over one connection that everybody shares. Money is in runtime.billing. Everything here
--- waits; what Redis calls an error is raised.
local redis = {}

---@alias redis_value string|integer
---@alias redis_reply string|integer|table|nil

--- nil for nil, integers as integers, lists as tables. Commands that block or change the connection
--- (SUBSCRIBE, MULTI, BLPOP, SELECT …) are refused.
---@param command string
---@param ... redis_value
---@return redis_reply
function redis.call(command, ...) end

---@class redis_pipeline
---@field call fun(command: string, ...: redis_value)

--- All commands in one write; the answers in order, and their number as n. All of them run, then the first
--- error is raised. The function only collects: it cannot wait.
---@param fn fun(p: redis_pipeline)
---@return { n: integer, [integer]: redis_reply }
function redis.pipeline(fn) end

--- A script inside Redis; after the first time it is called by its SHA.
---@param code string
---@param keys? redis_value[]
---@param arguments? redis_value[]
---@return redis_reply
function redis.eval(code, keys, arguments) end

--- The same with the script of lua/redis/<name>.lua, which a reload reads anew.
---@param name string
---@param keys? redis_value[]
---@param arguments? redis_value[]
---@return redis_reply
function redis.script(name, keys, arguments) end

--- A connection of one's own.
---@class redis_connection
local connection = {}

--- As redis.call. A command may take 25 seconds: what blocks must ask for less, and be called again.
---@param command string
---@param ... redis_value
---@return redis_reply
function connection:call(command, ...) end

function connection:close() end

--- For what a shared connection cannot do: MULTI, WATCH, BLPOP, XREAD BLOCK. Use it as
--- `local own <close> = redis.connect()`. Not for clusters; at most 64 at once.
---@return redis_connection
function redis.connect() end

---@param channel string
---@param message string
---@return integer heard by how many subscribers
function redis.publish(channel, message) end

---@class redis_subscription
local subscription = {}

--- Returns once the subscription is in force. Use it as `local s <close> = redis.subscribe(…)`.
---@param channel string
---@return redis_subscription
function redis.subscribe(channel) end

--- The next message, or nil and "timeout". At most 1000 wait; the oldest go first.
---@param seconds? number
---@return string|nil message, string|nil reason
function subscription:receive(seconds) end

--- How many messages went because nobody received them.
---@return integer
function subscription:lost() end

function subscription:close() end

return redis
