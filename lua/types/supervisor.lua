---@meta runtime.supervisor
--- For commands: asks the running site over its sockets in <var>/run. Everything here blocks.
local supervisor = {}

---@param question "status"|"reload"
---@return string? json, string? reason
function supervisor.ask(question) end

---@class runtime.Console
local Console = {}

--- Sends a line and waits for the line that answers it.
---@param line string
---@param milliseconds integer
---@return string? answer, string? reason
function Console:ask(line, milliseconds) end

function Console:close() end

--- A connection to the console of a running service process.
---@param service string
---@param instance? integer 1
---@return runtime.Console? console, string? reason
function supervisor.console(service, instance) end

return supervisor
