--- What every template of the site sees beside its own variables and the framework's.
local billing = require "runtime.billing"
local log = require "runtime.log"
local permissions = require "footlight.permissions"
local present = require "site.present"
local router = require "footlight.router"

local themes = { light = "light", dark = "dark" }
-- Coming back to these after signing in would make no sense.
local not_next = { ["/login"] = true, ["/signup"] = true, ["/logout"] = true, ["/activate"] = true,
  ["/forgot"] = true, ["/reset"] = true, ["/theme"] = true }

local function balance_of(account)
  local ok, wallet = pcall(billing.wallet, account.id)
  if ok then return wallet.paid + wallet.bonus end
  log.warn("the balance is not known", { error = tostring(wallet) })
  return nil -- the page shows a dash
end

return function(req)
  local account = req.account
  local here = req.target or req.path
  local back = ""
  if req.method == "GET" and not not_next[req.path] and req.path ~= "/" then
    back = "?next=" .. router.encode(here, "/")
  elseif not_next[req.path] and req:next_path("/") ~= "/" then
    back = "?next=" .. router.encode(req:next_path("/"), "/")
  end
  return {
    site = present.site(),
    theme = themes[req:cookie("theme") or ""] or "auto",
    here = req.method == "GET" and here or "/",
    query = req.path == "/search" and req.query.q or "",
    login_url = "/login" .. back,
    signup_url = "/signup" .. back,
    balance = account and balance_of(account),
    me = account and {
      id = account.id, name = account.name, role = account.role,
      is_model = permissions.has(account, "studio.use"),
      is_staff = permissions.has(account, "admin.models"),
    },
  }
end
