---@meta footlight.form
--- Forms: what fields there are, what may stand in them, and what to say when it does not.
local form = {}

---@class Field.Options
---@field label? string
---@field optional? boolean
---@field default? any
---@field min? integer length in code points, or the least value
---@field max? integer
---@field pattern? string Lua pattern of a text
---@field lines? boolean a text of several lines
---@field options? (string|{ value: string, label: string })[]|fun(req: Request): table
---@field required? boolean a box that must be ticked
---@field types? string[] content types of a file
---@field messages? table<string, string> own texts (or keys) by error
---@field check? fun(value: any, values: table, req: Request): string?, table? nil, or the error's text or key and its values

---@class Form
local Form = {}

--- The values; or what was typed (without passwords and files) and the errors by name, with `list` in order.
---@param req Request
---@return table values
---@return table? errors
function Form:read(req) end

--- Values and errors of a form that nobody has sent yet.
---@param values? table
---@return table values
---@return table errors
function Form:fresh(values) end

--- { { "name", field }, … } keeps the order; { name = field } is sorted.
---@param fields table
---@return Form
function form.define(fields) end

---@param options? Field.Options
function form.text(options) end

---@param options? Field.Options
function form.hidden(options) end

---@param options? Field.Options
function form.email(options) end

---@param options? Field.Options
function form.password(options) end

--- Digits only, at most nine of them.
---@param options? Field.Options
function form.integer(options) end

--- "1.50" → micro-credits.
---@param options? Field.Options
function form.credits(options) end

--- One of { "a", "b" } or of `options`.
---@param options Field.Options|string[]
function form.choice(options) end

--- Several of them, as a list.
---@param options Field.Options|string[]
function form.choices(options) end

---@param options? Field.Options
function form.checkbox(options) end

--- "2026-12-31", and a day that exists.
---@param options? Field.Options
function form.date(options) end

---@param options? Field.Options
function form.file(options) end

return form
