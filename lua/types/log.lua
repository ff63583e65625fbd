---@meta runtime.log
--- One JSON object a line. The event is a dotted name that never varies; what varies goes into fields.
--- The request id of the running coroutine is added. Never log passwords, tokens, keys or documents.
local log = {}

---@alias runtime.LogFields table<string, string|number|boolean>

---@param event string
---@param fields? runtime.LogFields
function log.debug(event, fields) end

---@param event string
---@param fields? runtime.LogFields
function log.info(event, fields) end

---@param event string
---@param fields? runtime.LogFields
function log.warn(event, fields) end

---@param event string
---@param fields? runtime.LogFields
function log.error(event, fields) end

return log
