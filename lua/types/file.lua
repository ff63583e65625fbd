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

---@class runtime.FileReader
local FileReader = {}

--- The next piece, nil at the end.
---@param bytes? integer at most (65536)
---@return string? piece, string? reason, string? kind
function FileReader:read(bytes) end

--- The next piece begins there.
---@param offset integer
function FileReader:seek(offset) end

function FileReader:close() end

--- A file that is read piece by piece. `local f <close> = assert(file.open(path))`
---@param path string
---@return runtime.FileReader? reader, string? reason, string? kind
function file.open(path) end

---@class runtime.FileWriter
local FileWriter = {}

---@param text string
---@return true? done, string? reason, string? kind
function FileWriter:write(text) end

--- Now it gets its name: readers see the old file or all of the new one. Without it nothing is left.
---@return true? done, string? reason, string? kind
function FileWriter:finish() end

function FileWriter:close() end

--- A file that is written piece by piece. `local f <close> = assert(file.create(path))`
---@param path string
---@return runtime.FileWriter? writer, string? reason, string? kind
function file.create(path) end

return file
