---@meta runtime.template
--- What templates are compiled to: calls that append to a buffer in C. Pages use footlight.view.
local template = {}

--- An empty buffer. tostring() gives its text, # its size; `..` with a text escapes the text.
---@param size? integer what is expected to come: memory for it is taken at once
---@return userdata
function template.buffer(size) end

--- Appends markup as it is.
---@param out userdata
---@param value any
function template.raw(out, value) end

--- Appends element content: text is escaped, a buffer is markup already.
---@param out userdata
---@param value any
function template.html(out, value) end

--- Appends to a quoted attribute value.
---@param out userdata
---@param value any
function template.attribute(out, value) end

--- Appends a whole URL; about:invalid if its scheme could run script.
---@param out userdata
---@param value any
function template.url(out, value) end

--- Appends a part of a URL behind its beginning.
---@param out userdata
---@param value any
function template.url_part(out, value) end

--- Appends a value of a URL's query, percent-encoded wholly.
---@param out userdata
---@param value any
function template.query(out, value) end

--- Appends JSON that may stand in <script>.
---@param out userdata
---@param value any
function template.json(out, value) end

--- Appends the inside of a JSON string.
---@param out userdata
---@param value any
function template.json_inside(out, value) end

--- Appends several values in one call. `ways` has a letter for each: r(aw), h(tml), a(ttribute), u(rl),
--- p (url_part), q(uery), j(son), i (json_inside).
---@param out userdata
---@param ways string
---@param ... any
function template.write(out, ways, ...) end

--- The text as markup: the only way to print unescaped.
---@param text any
---@return userdata
function template.safe(text) end

---@param text any
---@return string
function template.escape(text) end

---@param text any
---@return string
function template.to_url(text) end

---@param value any
---@return string
function template.to_json(value) end

--- The regular files below a folder, relative to it; {} if there is none.
---@param folder string
---@return string[]
function template.files(folder) end

--- A source file of at most 1 MiB; nil and the reason.
---@param path string
---@return string?
---@return string? reason
function template.read(path) end

--- The folder that holds lua/, templates/ and public/.
---@return string
function template.root() end

return template
