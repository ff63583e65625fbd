--- Joining: the form, the mail, the confirmation.
--
-- Whether a name of an address is known is never told: a taken address gets the same page, in the
-- same time, and its owner a mail that says so. (Names are public anyway, and told.)
local accounts = require "store.accounts"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local form = require "footlight.form"
local forms = require "site.forms"
local mail = require "footlight.mail"
local names = require "site.names"
local present = require "site.present"
local router = require "footlight.router"
local secret = require "footlight.secret"

local LEAST_SECONDS = 2        -- nobody fills the form faster
local MOST_SECONDS = 24 * 3600
local TOKEN_HOURS = 24

local signup_form = form.define {
  { "name", form.text { max = 20, check = names.check } },
  { "email", form.email { max = 254 } },
  { "password", form.password { min = 15, max = 128 } },
  { "adult", form.checkbox { optional = true } },
  { "terms", form.checkbox { optional = true } },
  { "website", form.text { max = 200, optional = true } },
  { "started", form.text { max = 100, optional = true } },
}
local resend_form = form.define { { "email", form.email { max = 254 } } }
local token_form = form.define { { "t", form.text { min = 20, max = 100, pattern = "^[%w_-]+$" } } }

-- The time at which the form was made, so that it cannot be made up: "1700000000.<mac>".
local function stamp()
  local now = tostring(os.time())
  return now .. "." .. secret.sign("signup:" .. now)
end

local function seconds_since(text)
  local at, mac = (text or ""):match("^(%d+)%.([%w_-]+)$")
  if not at or not secret.signed("signup:" .. at, mac) then return nil end
  return os.time() - tonumber(at)
end

local function form_page(req, shown, status)
  return req:render("site/signup",
    { form = shown, next_path = req:next_path("/"), started = stamp() }, status)
end

local function done_page(req) return req:redirect("/signup/sent") end

local function activation_url(token, next_path)
  local url = present.site().url .. "/activate?t=" .. token
  if next_path and next_path ~= "/" then url = url .. "&next=" .. router.encode(next_path, "/") end
  return url
end

local function send_activation(account, next_path, tx)
  local token = accounts.new_token(account.id, "activate", TOKEN_HOURS * 3600, nil, tx)
  mail.send({
    to = account.email, template = "mail/activate", locale = account.locale,
    values = { name = account.name, url = activation_url(token, next_path) },
  }, tx)
end

local function send_exists(account, tx)
  mail.send({
    to = account.email, template = "mail/exists", locale = account.locale,
    values = { name = account.name, url = present.site().url .. "/login" },
  }, tx)
end

local function more_errors(req, values, errors)
  local t = req.t
  errors = errors or {}
  local list = errors.list or {}
  local function add(name, key)
    if errors[name] then return end
    errors[name] = t(key)
    list[#list + 1] = { name = name, text = errors[name] }
  end
  if not errors.name and accounts.by_name(values.name) then add("name", "signup.name_taken") end
  if not errors.password and names.weak_password(values.password, values) then
    add("password", "signup.weak_password")
  end
  if not values.adult then add("adult", "signup.adult_missing") end
  if not values.terms then add("terms", "signup.terms_missing") end
  local seconds = seconds_since(values.started)
  if #list == 0 and (not seconds or seconds < LEAST_SECONDS or seconds > MOST_SECONDS) then
    add("", "signup.too_fast")
  end
  errors.list = list
  return #list > 0 and errors or nil
end

local function join(req, values)
  -- Hashed in either case: it is what takes the time.
  local hash = crypto.password_hash(values.password)
  local next_path = req:next_path("/")
  db.transaction(function(tx)
    local known = accounts.by_email(values.email, tx)
    if known then return send_exists(known, tx) end
    local account = accounts.create({
      name = values.name, email = values.email, password_hash = hash, state = "pending",
      role = "viewer", locale = req.locale,
    }, tx)
    send_activation(account, next_path, tx)
  end)
end

return function(site)
  site:get("/signup", { name = "signup", guest = true }, function(req)
    return form_page(req, forms.fresh())
  end)

  site:post("/signup", {
    guest = true, limit = { name = "signup", count = 20, seconds = 3600, by = "ip" },
  }, function(req)
    local values, errors = signup_form:read(req)
    -- Only a program fills in what nobody sees; it is told what it wants to hear.
    if (values.website or "") ~= "" then return done_page(req) end
    errors = more_errors(req, values, errors)
    if errors then return form_page(req, forms.failed(values, errors), 422) end
    local ok, reason = pcall(join, req, values)
    if not ok then
      -- Two at once with one name: the second sees what the first one's would have shown it.
      if not accounts.by_name(values.name) then error(reason, 0) end
      local known = accounts.by_email(values.email)
      if not known or known.name ~= values.name then
        return form_page(req,
          forms.failed(values, { name = req.t("signup.name_taken") }), 422)
      end
    end
    return done_page(req)
  end)

  site:get("/signup/sent", function(req)
    return req:render("site/message", {
      heading = req.t("signup.done_title"), text = req.t("signup.done_text"), mailbox_hint = true,
    })
  end)

  -- Mail scanners open links: only the button uses the token up.
  site:get("/activate", { name = "activate" }, function(req)
    local token = req.query.t or ""
    local known = token:find("^[%w_-]+$") and #token <= 100 and accounts.peek_token(token, "activate")
    return req:render("site/activate", {
      token = token, next_path = req:next_path("/"), expired = not known, form = forms.fresh(),
    })
  end)

  site:post("/activate", {
    limit = { name = "activate", count = 30, seconds = 600, by = "ip" },
  }, function(req)
    local values, errors = token_form:read(req)
    local account = not errors and db.transaction(function(tx)
      local used = accounts.use_token(values.t, "activate", tx)
      if not used then return nil end
      accounts.verify_email(used.account_id, tx)
      return accounts.by_id(used.account_id, tx)
    end)
    if not account then
      return req:render("site/activate", { expired = true, form = forms.fresh() }, 422)
    end
    req:flash(req.t("activate.done"), "success")
    if req.account then return req:redirect(req:next_path("/")) end
    return req:redirect("/login?" .. router.query { next = req:next_path("/") })
  end)

  site:post("/activate/resend", {
    limit = { name = "resend", count = 5, seconds = 3600, by = "ip" },
  }, function(req)
    local values, errors = resend_form:read(req)
    if errors then
      return req:render("site/activate", { expired = true, form = forms.failed(values, errors) }, 422)
    end
    db.transaction(function(tx)
      local account = accounts.by_email(values.email, tx)
      if account and account.state == "pending" then
        send_activation(account, nil, tx)
      elseif account then
        send_exists(account, tx)
      end
    end)
    return done_page(req)
  end)
end
