--- Requests that change something must come from our own pages.
--
-- Two checks, both needed: where the browser says that the request comes from (Origin, else
-- Sec-Fetch-Site, else Referer), and a token that only our pages know. The token is a MAC of the
-- session's token; a guest gets a signed cookie to stand in for it when a page first shows a form. It
-- looks different each time (masked), so that compression cannot give it away.
local secrets = require "footlight.secret"
local view = require "footlight.view"

local csrf = {}

local COOKIE = "guest"
csrf.field_name = "csrf_token"
csrf.header = "x-csrf-token"

local safe = { GET = true, HEAD = true, OPTIONS = true, TRACE = true }

local function guest_identity(req)
  local value = req.guest_identity or req:cookie(COOKIE)
  if not value then return nil end
  local id, mac = value:match("^([%w_-]+)%.([%w_=+/-]+)$")
  if not id or #value > 200 or not secrets.signed("guest:" .. id, mac) then return nil end
  return value
end

local function identity(req, make)
  if req.session_token then return "session:" .. req.session_token end
  local value = guest_identity(req)
  if not value and make then
    local id = secrets.token(18)
    value = id .. "." .. secrets.sign("guest:" .. id)
    req.guest_identity = value
    req:set_cookie(COOKIE, value, {})
  end
  return value and "guest:" .. value
end

local function secret(req, make)
  local id = identity(req, make)
  return id and secrets.sign("csrf:" .. id)
end

local function xor(a, b)
  local bytes = {}
  for i = 1, #a do bytes[i] = ("%02x"):format(a:byte(i) ~ b:byte(i)) end
  return table.concat(bytes)
end

local function from_hex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

--- A token for a form of this visitor.
function csrf.token(req)
  local mac = secret(req, true)
  local mask = secrets.token(#mac):sub(1, #mac)
  return xor(mask, ("\0"):rep(#mask)) .. xor(mask, mac)
end

--- The hidden field, as markup.
function csrf.field(req)
  return (view.render("footlight/csrf", { name = csrf.field_name, token = csrf.token(req) }))
end

local function right(req, token)
  local mac = secret(req, false)
  if not mac or type(token) ~= "string" or #token ~= 4 * #mac or token:find("%X") then
    return false
  end
  local mask, masked = token:sub(1, 2 * #mac), token:sub(2 * #mac + 1)
  return secrets.equal(from_hex(xor(from_hex(mask), from_hex(masked))), mac)
end

local function host_of(url)
  return (url:match("^https?://([^/?#]+)") or ""):lower()
end

-- true, or false where the browser names another site; nil where it does not say.
local function same_site(req, own)
  local host = (req.headers["host"] or ""):lower()
  local function ours(url)
    local other = host_of(url)
    return other ~= "" and (other == host or other == own)
  end
  local origin = req.headers["origin"]
  if origin then return ours(origin) end
  local fetch = req.headers["sec-fetch-site"]
  if fetch then return fetch == "same-origin" or fetch == "none" end
  local referer = req.headers["referer"]
  if referer then return ours(referer) end
  return nil
end

--- Whether a browser says that a page of ours made the request, or it was no browser.
function csrf.same_site(req, site_url) return same_site(req, host_of(site_url or "")) ~= false end

--- True, or nil and the reason. `site_url` is the site's own address from the settings.
function csrf.check(req, site_url)
  if safe[req.method] then return true end
  if not csrf.same_site(req, site_url) then return nil, "cross-site request" end
  local token = req.headers[csrf.header]
  if not token then
    local fields = req:fields()
    token = fields[csrf.field_name]
  end
  if not right(req, token) then return nil, "the form's token is missing or old" end
  return true
end

return csrf
