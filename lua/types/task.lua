---@meta runtime.task
--- Coroutines of the scheduler. A task ends on its own account: a request that ends or is cancelled
--- leaves its tasks running, unless it was waiting for them by wait_all.
local task = {}

---@class runtime.Task
local Task = {}

--- Its results, or raises its error as it was raised; nil and "timeout" after `seconds`.
---@param seconds? number
---@return any ...
function Task:wait(seconds) end

--- The operation it waits for is abandoned, it unwinds through its to-be-closed variables, and each
--- further wait that it tries fails. Who waits for it gets the error.
---@param reason? string
---@return runtime.Task
function Task:cancel(reason) end

---@return boolean ended, boolean succeeded
function Task:done() end

--- Begins at the end of this tick, with the spawner's limits and request id. Who spawns hundreds in a
--- row gives way to them after each hundred.
---@param fn function
---@param ... any
---@return runtime.Task
function task.spawn(fn, ...) end

--- The first result of each, in the order of the list. The first error is raised, the rest cancelled.
---@param tasks runtime.Task[]
---@param seconds? number
---@return any[]? results, string? timeout
function task.wait_all(tasks, seconds) end

--- The index of one that has ended, and its results (or raises its error).
---@param tasks runtime.Task[]
---@param seconds? number
---@return integer? index, any ...
function task.wait_any(tasks, seconds) end

---@param t runtime.Task
---@param reason? string
function task.cancel(t, reason) end

--- A job's sleep is where a reload may end it ("cancelled: reload"); requests sleep on.
---@param seconds number
function task.sleep(seconds) end

--- Calls fn again and again, `seconds` after the end of the last call. Errors are logged. Each call has
--- the spawner's limits.
---@param seconds number
---@param fn fun()
---@return runtime.Task
function task.every(seconds, fn) end

--- fn's results; raises "deadline exceeded" inside fn when it takes longer.
---@param seconds number
---@param fn function
---@param ... any
---@return any ...
function task.deadline(seconds, fn, ...) end

---@class runtime.Semaphore
local Semaphore = {}
---@class runtime.Permit
local Permit = {}

--- `local permit <close> = gate:acquire()`; nil and "timeout" after `seconds`.
---@param seconds? number
---@return runtime.Permit? permit, string? timeout
function Semaphore:acquire(seconds) end

function Permit:release() end

---@param permits integer
---@return runtime.Semaphore
function task.semaphore(permits) end

---@class runtime.Channel
local Channel = {}

--- true; nil and "timeout" or "closed". A full channel makes its senders wait.
---@param value any
---@param seconds? number
---@return boolean? sent, string? why
function Channel:send(value, seconds) end

--- The oldest value; nil and "timeout", or "closed" when it is empty too.
---@param seconds? number
---@return any value, string? why
function Channel:receive(seconds) end

function Channel:close() end

---@param capacity? integer (1)
---@return runtime.Channel
function task.channel(capacity) end

--- Wall clock, milliseconds since 1970; follows the tests' clock.
---@return integer
function task.now_ms() end

--- For durations.
---@return integer
function task.monotonic_ms() end

---@return { coroutines: integer, pending: integer, bytes: integer, generation: integer }
function task.figures() end

return task
