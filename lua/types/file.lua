---@meta runtime.file
--- Files below the run-time folder (relative paths start there) and, for reading, below the root. All of
--- these wait; when they fail they return nil, a message and "missing", "exists" or "failed".
local file = {}

---@param path string
---@param most? integer bytes (16 MiB)
---@return string? data, string? reason, string? kind
function file.read(path, most) end

--- Atomic: readers see the old file or the new one.
---@param path string
---@param data string
---@return true? done, string? reason, string? kind
function file.write(path, data) end

---@param path string
---@return string[]? names, string? reason, string? kind
function file.list(path) end

---@param path string
---@return { size: integer, modified: integer, kind: "file"|"folder"|"other" }? info, string? reason, string? kind
function file.stat(path) end

--- With all folders above it.
---@param path string
---@return true? done, string? reason, string? kind
function file.mkdir(path) end

--- A file or an empty folder.
---@param path string
---@return true? done, string? reason, string? kind
function file.remove(path) end

---@param from string
---@param to string
---@return true? done, string? reason, string? kind
function file.rename(from, to) end

--- A path below <var>/tmp that nobody uses; nothing is made.
---@param suffix? string
---@return string
function file.temp(suffix) end

return file
