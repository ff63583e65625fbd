--- Signing in and out, and a new password.
--
-- After five wrong passwords each further try of the pair (name, address of the visitor) waits; the
-- account itself is never locked, so that nobody can lock out somebody else.
local accounts = require "store.accounts"
local audit = require "store.audit"
local cache = require "runtime.cache"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local form = require "footlight.form"
local forms = require "site.forms"
local mail = require "footlight.mail"
local names = require "site.names"
local present = require "site.present"
local rate_limit = require "footlight.rate_limit"

local TRIES, WINDOW = 5, 300
local RESET_SECONDS = 3600

local login_form = form.define {
  { "login", form.text { max = 254 } },
  { "password", form.password { min = 1, max = 128 } },
}
local forgot_form = form.define { { "email", form.email { max = 254 } } }
local reset_form = form.define {
  { "t", form.text { min = 20, max = 100, pattern = "^[%w_-]+$" } },
  { "password", form.password { min = 15, max = 128 } },
}

local function login_page(req, shown, status, reason)
  return req:render("site/login",
    { form = shown, next_path = req:next_path("/"), reason = reason }, status)
end

-- What a password is checked against when nobody has that name: the hash of something that nobody
-- knows, made once in each process.
local function nobodys_hash()
  return cache.fetch("site.nobody", 86400, function()
    return crypto.password_hash(crypto.random_token(24))
  end)
end

local function find(login)
  if login:find("@", 1, true) then return accounts.by_email(login) end
  return accounts.by_name(login:lower())
end

local function sign_in(req)
  local values, errors = login_form:read(req)
  if errors then return login_page(req, forms.failed(values, errors), 422) end
  local t = req.t
  local function refuse(text, status)
    return login_page(req, forms.failed({ login = values.login }, { [""] = text }), status or 422)
  end
  local pair = values.login:lower() .. "|" .. tostring(req.remote)
  local allowed, wait = rate_limit.hit("password", pair, TRIES, WINDOW)
  if not allowed then
    local response = refuse(t("login.slow", { seconds = wait }), 429)
    response.headers = response.headers or {}
    response.headers["Retry-After"] = tostring(wait)
    return response
  end
  local account = find(values.login)
  -- Without an account a hash is checked too, and fails: both answers take the same time.
  local right, outdated = crypto.password_verify(
    account and account.password_hash or nobodys_hash(), values.password)
  if not account or not account.password_hash or not right then return refuse(t("login.wrong")) end
  if account.state == "pending" then return refuse(t("login.pending")) end
  if account.state ~= "active" then return refuse(t("login.disabled")) end
  rate_limit.clear("password", pair)
  if outdated then accounts.rehash(account.id, crypto.password_hash(values.password)) end
  req:sign_in(account)
  return req:redirect(req:next_path("/"))
end

local function reset_page(req, shown, token, status)
  return req:render("site/reset", { form = shown, token = token }, status)
end

return function(site)
  site:get("/login", { name = "login", guest = true }, function(req)
    local reason = req:next_path("/") ~= "/" and req.t("login.needed") or nil
    return login_page(req, forms.fresh(), nil, reason)
  end)

  site:post("/login", {
    guest = true, limit = { name = "login", count = 60, seconds = 300, by = "ip" },
  }, sign_in)

  site:post("/logout", { name = "logout" }, function(req)
    if req.account then
      req:sign_out()
      req:flash(req.t("login.bye"), "info")
    end
    return req:redirect("/")
  end)

  site:get("/forgot", { name = "forgot", guest = true }, function(req)
    return req:render("site/forgot", { form = forms.fresh() })
  end)

  site:post("/forgot", {
    guest = true, limit = { name = "forgot", count = 10, seconds = 3600, by = "ip" },
  }, function(req)
    local values, errors = forgot_form:read(req)
    if errors then
      return req:render("site/forgot", { form = forms.failed(values, errors) }, 422)
    end
    db.transaction(function(tx)
      local account = accounts.by_email(values.email, tx)
      if not account or account.state ~= "active" then return end
      local token = accounts.new_token(account.id, "reset", RESET_SECONDS, nil, tx)
      mail.send({
        to = account.email, template = "mail/reset", locale = account.locale,
        values = { name = account.name, url = present.site().url .. "/reset?t=" .. token },
      }, tx)
    end)
    return req:redirect("/forgot/sent")
  end)

  site:get("/forgot/sent", function(req)
    return req:render("site/message", {
      heading = req.t("signup.done_title"), text = req.t("forgot.done_text"), mailbox_hint = true,
    })
  end)

  site:get("/reset", { name = "reset", guest = true }, function(req)
    local token = req.query.t or ""
    if not token:find("^[%w_-]+$") or #token > 100 or not accounts.peek_token(token, "reset") then
      req:flash(req.t("reset.expired"), "warning")
      return req:redirect("/forgot")
    end
    return reset_page(req, forms.fresh(), token)
  end)

  site:post("/reset", {
    guest = true, limit = { name = "reset", count = 20, seconds = 3600, by = "ip" },
  }, function(req)
    local values, errors = reset_form:read(req)
    if not errors and names.weak_password(values.password) then
      errors = { password = req.t("signup.weak_password") }
    end
    if errors then
      return reset_page(req, forms.failed(values, errors), values.t or "", 422)
    end
    local hash = crypto.password_hash(values.password)
    local done = db.transaction(function(tx)
      local used = accounts.use_token(values.t, "reset", tx)
      if not used then return false end
      accounts.set_password(used.account_id, hash, tx) -- ends all sessions
      audit.write({ actor = used.account_id, action = "account.password_reset",
        target = "account:" .. used.account_id, ip = req.remote }, tx)
      return true
    end)
    if not done then
      req:flash(req.t("reset.expired"), "warning")
      return req:redirect("/forgot")
    end
    req:flash(req.t("reset.done"), "success")
    return req:redirect("/login")
  end)
end
