---@meta footlight.view
--- Templates: compiled when a generation is loaded. docs/templates.md has the language.
local view = {}

---@type table what every template sees beside its variables
view.globals = {}

--- Adds a filter before templates are compiled: fn(value, …), or fn(variables, value, …) with with_env.
---@param name string
---@param fn function
---@param with_env? boolean
function view.filter(name, fn, with_env) end

--- Compiles all templates of a folder, or of a table file → text. Keeps the old ones on failure.
---@param from? string|table<string, string>
---@return integer? count
---@return string[]? errors "file:line: text"
function view.load(from) end

--- For reloads: raises with all errors.
---@return integer count
function view.check() end

---@param name string
---@return boolean
function view.exists(name) end

--- name → { file, extends, references }
---@return table
function view.list() end

--- Renders to a buffer, which a response takes as its body; the variables as the template left them.
---@param name string
---@param variables? table
---@param globals? table
---@return userdata buffer
---@return table variables
function view.render(name, variables, globals) end

return view
