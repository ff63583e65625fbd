---@meta runtime.config
--- The settings (conf/footlight.conf.lua), to read. Secrets and passwords are not here.
local config = {}

---@type string "web", "realtime", "hooks", "media", "jobs", "command" or "test"
config.service = ""
---@type string the folder that holds lua/, templates/, public/
config.root = ""
---@type boolean
config.development = false

--- Booleans and whole numbers come as such.
---@param key string dotted
---@param otherwise? any
---@return any
function config.get(key, otherwise) end

--- Everything below a key, without its prefix.
---@param key string
---@return table<string, any>
function config.section(key) end

--- Why the last reload was not taken, with file and line; nil if it was.
---@return string?
function config.load_error() end

return config
