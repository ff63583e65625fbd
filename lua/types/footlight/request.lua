---@meta footlight.request
--- What a handler can do with its request, beside what the core gives it (runtime.request).
local request = {}

---@class Request
---@field params table<string, string> values of the path, decoded
---@field account table? who is signed in
---@field session table?
---@field locale string
---@field t fun(key: string, values?: table): string
local Request = {}

--- A page: the template with the variables, the site's context and the globals.
---@param name string
---@param variables? table
---@param status? integer default 200
---@return table response
function Request:render(name, variables, status) end

--- To a path of this site; anything else raises.
---@param path string
---@param status? integer default 303
---@return table response
function Request:redirect(path, status) end

--- To another site, whose address is the caller's own and not the visitor's.
---@param url string
---@param status? integer
---@return table response
function Request:redirect_out(url, status) end

---@param value any
---@param status? integer
---@param kind? string default application/json
---@return table response
function Request:json_response(value, status, kind) end

---@param text string
---@param status? integer
---@param kind? string default text/plain
---@return table response
function Request:text_response(text, status, kind) end

--- A response that goes on: server-sent events, written by fn(stream). docs/framework.md has an example.
---@param fn fun(stream: EventStream)
---@param options? { deadline: number?, headers: table? }
---@return table response
function Request:events(fn, options) end

--- Says what the answer is made of: a tag (any text that changes with it), a time (seconds), or both. They
--- become ETag and Last-Modified. A 304 to return if the client has it already, else nil.
---@param is { etag: string?, modified: number? }
---@return table? response
function Request:unchanged(is) end

--- Ends the handler with that status and its page.
---@param status integer
---@param detail? string shown on the page
---@param headers? table
function Request:fail(status, detail, headers) end

--- 404.
function Request:not_found() end

---@param reason? string
function Request:forbidden(reason) end

---@param reason? string
function Request:bad_request(reason) end

---@param reason? string
function Request:conflict(reason) end

--- 429 with Retry-After.
---@param seconds? number
function Request:too_many(seconds) end

--- The fields of the form (or JSON object) that was sent: a text, a list where it repeats, a table for a file.
---@return table
function Request:fields() end

--- `next` of the form or query if it is a local path, else the default or "/".
---@param default? string
---@return string
function Request:next_path(default) end

--- A cookie that set_cookie made.
---@param name string
---@return string?
function Request:cookie(name) end

---@param name string
---@param value string
---@param options? { max_age: integer?, path: string?, http_only: boolean?, same_site: string?, plain: boolean? }
function Request:set_cookie(name, value, options) end

---@param name string
---@param options? table as of set_cookie
function Request:clear_cookie(name, options) end

--- Words for the next page.
---@param text string
---@param kind? "info"|"success"|"warning"|"error"
function Request:flash(text, kind) end

--- A new session for the account; the one before ends.
---@param account table
---@return table session
function Request:sign_in(account) end

function Request:sign_out() end

--- Counts one use; false and the seconds to wait beyond `count` in `seconds`.
---@param name string
---@param count integer
---@param seconds integer
---@param key? string default: the address of the visitor
---@return boolean allowed
---@return integer? wait
function Request:allow(name, count, seconds, key) end

---@param name string
---@param values? table
---@return string
function Request:url_for(name, values) end

--- For scripts: goes into the header X-CSRF-Token.
---@return string
function Request:csrf_token() end

--- Whether the client asks for JSON rather than a page.
---@return boolean
function Request:wants_json() end

--- Gives the core's request these methods.
---@param req table
---@param app table
---@return Request
function request.prepare(req, app) end

--- Cookies that the request set, as values of Set-Cookie.
---@param req Request
---@return string[]
function request.cookies(req) end

--- Whether it is a path of this site: one slash first, no backslash, no control characters.
---@param path any
---@return boolean
function request.is_local(path) end

return request
