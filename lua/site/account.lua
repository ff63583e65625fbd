--- The account's own pages: profile, password, where it is signed in.
local accounts = require "store.accounts"
local audit = require "store.audit"
local billing = require "runtime.billing"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local form = require "footlight.form"
local format = require "footlight.format"
local forms = require "site.forms"
local log = require "runtime.log"
local names = require "site.names"
local present = require "site.present"
local sessions = require "store.sessions"

local password_form = form.define {
  { "current", form.password { min = 1, max = 128 } },
  { "password", form.password { min = 15, max = 128 } },
}

local limit_form = form.define { { "minutes", form.integer { min = 0, max = 1440 } } }

-- How long the account may watch a day by its own word, and has watched, in minutes; nil without billing.
local function watching(account)
  local ok, found = pcall(billing.allowance, account.id)
  if ok then return { minutes = found.own_limit // 60, watched = found.watched_ms // 60000 } end
  log.warn("the allowance is not known", { account = account.id, error = tostring(found) })
end

local function page(req, shown, status)
  local account = req.account
  local rows = {}
  for i, session in ipairs(sessions.of_account(account.id)) do
    rows[i] = {
      id = session.id, ip = session.ip, device = present.device(session.user_agent, req.t),
      seen_iso = format.iso(session.seen_at), seen_text = format.ago(session.seen_at, req.locale),
      current = req.session ~= nil and session.id == req.session.id,
    }
  end
  return req:render("site/account", {
    account = account, verified = account.email_verified_at ~= nil, form = shown,
    role_text = req.t("role." .. account.role), sessions = rows, watching = watching(account),
    since_text = format.date(account.created_at, req.locale),
  }, status)
end

return function(site)
  site:group({ prefix = "/account", signed_in = true }, function(group)
    group:get("/", { name = "account" }, function(req) return page(req, forms.fresh()) end)

    group:post("/password", {
      limit = { name = "password", count = 10, seconds = 3600, by = "account" },
    }, function(req)
      local values, errors = password_form:read(req)
      local account = accounts.by_id(req.account.id)
      if not errors and not crypto.password_verify(account.password_hash, values.current) then
        errors = { current = req.t("account.wrong_password") }
      elseif not errors and names.weak_password(values.password, account) then
        errors = { password = req.t("signup.weak_password") }
      end
      if errors then return page(req, forms.failed({}, errors), 422) end
      local hash = crypto.password_hash(values.password)
      db.transaction(function(tx)
        accounts.set_password(account.id, hash, tx) -- ends all sessions, this one too
        audit.write({ actor = account.id, action = "account.password_changed",
          target = "account:" .. account.id, ip = req.remote }, tx)
      end)
      req:sign_in(account)
      req:flash(req.t("account.password_changed"), "success")
      return req:redirect("/account")
    end)

    -- At once, also for what runs; 0 takes the limit away.
    group:post("/limit", {
      name = "account_limit", limit = { name = "own_limit", count = 20, seconds = 3600, by = "account" },
    }, function(req)
      local values, errors = limit_form:read(req)
      if errors then return page(req, forms.failed(values or {}, errors), 422) end
      billing.limit {
        op = ("limit:%d:%s"):format(req.account.id, crypto.random_token(15)), account = req.account.id, whose = "own",
        seconds = values.minutes * 60, reason = "own limit", actor = "account:" .. req.account.id,
      }
      req:flash(req.t(values.minutes == 0 and "account.limit_gone" or "account.limit_set",
        { minutes = values.minutes }), "success")
      return req:redirect("/account")
    end)

    group:post("/sessions/:id/revoke", { where = { id = "%d+" } }, function(req)
      -- The account is part of the condition: a stranger's session is not found.
      if not sessions.revoke(tonumber(req.params.id), req.account.id) then req:not_found() end
      req:flash(req.t("account.revoked"), "success")
      return req:redirect("/account")
    end)
  end)
end
