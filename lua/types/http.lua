---@meta runtime.http
--- Outgoing requests and mail, by libcurl: pooled connections, limits for time and size. All of these wait;
--- a coroutine that is cancelled abandons its request. In web and jobs, commands and tests.
local http = {}

---@class runtime.HttpRequest
---@field url string http or https
---@field method? string GET, or POST with a body
---@field headers? table<string, string>
---@field body? string
---@field timeout? number seconds for all of it (10)
---@field max? integer bytes of the answer (1 MiB)
---@field redirects? integer how many are followed (0)
---@field guard? boolean for addresses that people gave: only public ones, after resolution, redirects too

---@class runtime.HttpResponse
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string

--- The answer, whatever its status; or nil and a reason whose first word is its kind: "timeout: …",
--- "refused: …", "busy: …", "limit: …" and the like.
---@param request runtime.HttpRequest
---@return runtime.HttpResponse? response, string? reason
function http.request(request) end

---@class runtime.SmtpMessage
---@field url string smtp://host:port or smtps://
---@field from string
---@field to string|string[]
---@field message string headers and text, lines ended by CRLF
---@field username? string
---@field password? string
---@field timeout? number seconds (10)

--- The server's last reply, or nil and a reason if it did not take the mail.
---@param message runtime.SmtpMessage
---@return { status: integer }? reply, string? reason
function http.smtp(message) end

--- Percent-encodes all but unreserved characters.
---@param text string
---@return string
function http.escape(text) end

return http
