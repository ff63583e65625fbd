---@meta runtime.request
--- Requests as the core makes them, for on_request(req); footlight.request adds to them. Fields are made when they are
--- asked for. Reading a body waits; one that is malformed, too large or too slow raises { status = 400, 413, 408 }.
local request = {}

--- What the core gives a request.
---@class runtime.Request
---@field method string
---@field path string decoded; raw_path is not
---@field target string as it was sent
---@field query table<string, string> asking for one that came twice raises 400; query_all has lists
---@field query_string string
---@field headers table<string, string> names in any case
---@field cookies table<string, string>
---@field remote string the client's address; of a trusted proxy's client, if one forwarded it
---@field secure boolean it came by https; scheme says it as text
---@field host string
---@field id string of this request, in logs and X-Request-Id
---@field has_body boolean
---@field upgrade boolean
local Request = {}

---@param name string
---@return string?
function Request:header(name) end

--- All of the body, again when asked again.
---@param limit? integer bytes (1 MiB)
---@return string
function Request:body(limit) end

--- Of a body that says it is application/json; anything else raises 415.
---@param limit? integer bytes (1 MiB)
---@return any
function Request:json(limit) end

--- A form: fields (a list where a name repeats) and files. Files are on disk, at `path`, and vanish with the request
--- unless they were moved away.
---@param limits? { size: integer?, file: integer?, files: integer?, fields: integer?, total: integer? }
---@return table<string, string|string[]> fields
---@return { name: string, filename: string, type: string, path: string, size: integer }[] files
function Request:form(limits) end

--- The body in pieces, while it arrives: `for part in req:parts(limit) do … end`. What is not asked for is not read, so
--- the client waits.
---@param limit? integer bytes (1 GiB)
---@return fun(): string?
function Request:parts(limit) end

--- A header that stood behind a chunked body, once that was read to its end.
---@param name string
---@return string?
function Request:trailer(name) end

--- What the access log shows in place of the path, where that holds a secret.
---@param path string
function Request:log_as(path) end

--- The address of a file of public/, with a hash of its content, and whether there is such a file.
---@param path string
---@return string url, boolean found
function request.asset(path) end

--- For tests: a request to on_request from inside, through the real server. footlight.testing.client is made of it.
---@param options { method: string?, path: string?, headers: table?, body: string?, remote: string?, secure: boolean? }
---@return { status: integer, headers: table, body: string }? answer, string? reason
function request.dispatch(options) end

--- For tests: a raw connection to the same server that begins with these bytes.
---@param bytes string
---@return userdata stream with read(seconds), write(bytes), pause(on), close()
function request.connect(bytes) end

---@param status integer
---@return string
function request.status_text(status) end

--- What requests look their methods up in; the framework adds its own.
---@type table
request.methods = {}

return request
