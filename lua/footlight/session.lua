--- Who is signed in.
--
-- A session is a row of MariaDB (store.sessions), found by the SHA-256 of a random token that only
-- the browser's cookie holds. Signing in makes a new one each time, so a token that somebody planted
-- before is worth nothing after. Guests have none: what they need (a form's token) is signed and
-- stateless, see csrf.lua.
local secret = require "footlight.secret"
local log = require "runtime.log"

local session = { seconds = 14 * 86400 }

local COOKIE = "session"
local TOKEN_BYTES = 32
local TOUCH_SECONDS = 60

-- Only the web service has MariaDB; this module is loaded by the others too.
local function store() return require "store.sessions" end

local function default_account(id)
  local account = require("store.accounts").by_id(id)
  if account and account.state == "active" then return account end
  return nil
end

--- The account of a session, or nil when it may not be used.
function session.account(id, row, account_of) return (account_of or default_account)(id, row) end

--- Sets req.session and req.account from the cookie. When MariaDB does not answer the visitor is
-- treated as a guest and req.session_unknown tells; guards.lua then answers 503 where it matters.
function session.load(req, account_of)
  local token = req:cookie(COOKIE)
  if not token then return end
  if not token:find("^[%w_-]+$") or #token < 40 or #token > 64 then
    req:clear_cookie(COOKIE)
    return
  end
  local ok, row = pcall(function() return store().by_token_hash(secret.hash(token)) end)
  if not ok then
    log.error("session.unknown", { error = tostring(row) })
    req.session_unknown = true
    return
  end
  if not row then
    req:clear_cookie(COOKIE)
    return
  end
  local account = session.account(row.account_id, row, account_of)
  if not account then return end
  req.session, req.account, req.session_token = row, account, token
  local seen = math.tointeger(row.seen_seconds_ago)
  if seen and seen >= TOUCH_SECONDS then
    local touched, reason = pcall(store().touch, row.id)
    if not touched then log.warn("session.not_touched", { error = tostring(reason) }) end
  end
end

--- Signs the account in: a new session, and the one before, if any, ends.
function session.sign_in(req, account)
  local token = secret.token(TOKEN_BYTES)
  local sessions = store()
  if req.session then sessions.revoke(req.session.id) end
  local row = sessions.create {
    token_hash = secret.hash(token), account_id = account.id, ip = req.remote or "",
    user_agent = (req.headers["user-agent"] or ""):sub(1, 255), seconds = session.seconds,
  }
  req:set_cookie(COOKIE, token, { max_age = session.seconds })
  req.session, req.account, req.session_token = row, account, token
  return row
end

function session.sign_out(req)
  if req.session then store().revoke(req.session.id) end
  req:clear_cookie(COOKIE)
  req.session, req.account, req.session_token = nil, nil, nil
end

return session
