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

return process
