---@meta runtime.process
local process = {}

---@class runtime.Command
---@field [integer] string the program and its arguments; no shell
---@field input? string
---@field limit? integer seconds (30), then SIGTERM and SIGKILL
---@field output_most? integer bytes of each stream (4 MiB), beyond it the child is killed
---@field directory? string
---@field environment? string[] "K=V"; ours if absent

---@class runtime.Outcome
---@field status integer exit code, or 128 + the signal
---@field output string
---@field errors string
---@field timed_out boolean
---@field overflow boolean

--- Waits for its end; a coroutine that is cancelled kills it. nil and the reason if it cannot start.
---@param command runtime.Command
---@return runtime.Outcome? outcome, string? reason
function process.run(command) end

--- A child that is talked with. `local child <close> = process.start { … }` kills it at the end of the block, if it still
--- runs then.
---@class runtime.Child
local Child = {}

--- What it has said, in pieces as they come; nil and "timeout", or "closed" when it has ended. What is not read
--- waits in the child's pipe, and so, in the end, does the child.
---@param seconds? number
---@return string? output, string? why
function Child:read(seconds) end

--- Waits while the child is behind with reading; false when it has ended.
---@param text string
---@return boolean
function Child:write(text) end

--- It reads the end of its input.
function Child:close_input() end

--- Its end: with the output that was not read before, and the last 64 KiB of what it said on the error output. nil
--- and "timeout" after so many seconds.
---@param seconds? number
---@return { status: integer, output: string, errors: string, timed_out: boolean }? outcome, string? why
function Child:wait(seconds) end

---@param signal? integer (15, SIGTERM)
function Child:kill(signal) end

---@return integer? pid nil when it has ended
function Child:pid() end

--- Kills it if it runs. Nothing may be asked of it afterwards.
function Child:close() end

--- Starts it. `limit` is in seconds (3600). Does not wait; nil and the reason if it cannot start.
---@param command { [integer]: string, limit: integer?, directory: string?, environment: string[]? }
---@return runtime.Child? child, string? reason
function process.start(command) end

return process
