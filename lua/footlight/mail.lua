--- Mails: rendered from templates/mail/, put into the outbox, sent by the jobs service.
--
-- templates/mail/<name>.txt is the text and sets the subject: {% set subject = t("…") %}. Beside it
-- templates/mail/<name>.html may be the same as a page. The mail is a row of the outbox before it is
-- anything else: with `tx` it exists exactly if the transaction does.
local config = require "runtime.config"
local i18n = require "footlight.i18n"
local view = require "footlight.view"

local mail = {}

--- What would be sent: { to, subject, text, html, from }. Values see t, locale, site { name, url }.
function mail.render(message)
  local locale = message.locale or i18n.default
  local globals = setmetatable({
    t = i18n.translator(locale), locale = locale,
    site = { name = config.get("site.name", "Footlight"), url = config.get("site.url", "") },
  }, { __index = view.globals })
  local name = message.template
  local text, env = view.render(name .. ".txt", message.values, globals)
  local subject = tostring(message.subject or env.subject or "")
  if subject == "" then error(("the mail '%s' sets no subject"):format(name), 2) end
  local html
  if view.exists(name) then
    html = tostring((view.render(name, message.values, globals)))
  end
  return {
    to = message.to, from = message.from or config.get("mail.from"),
    -- A line break in a header would be a second header.
    subject = (subject:gsub("%s+", " ")), text = tostring(text), html = html,
  }
end

local function check_address(address)
  if type(address) ~= "string" or #address > 254 or address:find("[%c%s,;<>]")
    or not address:find("^[^@]+@[^@]+$") then
    error(("'%s' is not an address to send to"):format(tostring(address)), 3)
  end
end

--- send({ to =, template = "mail/activate", values =, locale = } [, tx]) → the id of the outbox row.
function mail.send(message, tx)
  check_address(message.to)
  return require("store.outbox").add("mail", mail.render(message), tx)
end

return mail
