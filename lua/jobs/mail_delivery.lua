--- Delivers one mail of the outbox: by SMTP when mail.smtp is set, else as a JSON file in the folder
-- mail.mailbox, which development shows as a page.
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local file = require "runtime.file"
local http = require "runtime.http"
local json = require "runtime.json"

local delivery = {}

local LINE = 76 -- of base64, RFC 2045

local function permanent(message)
  error(setmetatable({ permanent = true }, { __tostring = function() return message end }), 0)
end

local function base64(data)
  local text = crypto.base64(data)
  local lines = {}
  for at = 1, #text, LINE do lines[#lines + 1] = text:sub(at, at + LINE - 1) end
  return table.concat(lines, "\r\n")
end

-- RFC 2047: what is not plain ASCII goes as encoded words, short enough each and cut between characters.
local function encode_header(text)
  if not text:find("[^\32-\126]") then return text end
  local words, part = {}, ""
  for char in text:gmatch(utf8.charpattern) do
    if #part + #char > 42 then
      words[#words + 1] = part
      part = ""
    end
    part = part .. char
  end
  words[#words + 1] = part
  for i, word in ipairs(words) do words[i] = "=?utf-8?B?" .. crypto.base64(word) .. "?=" end
  return table.concat(words, "\r\n ")
end

-- "Footlight <noreply@example.org>" → address, and the header with its name encoded.
local function sender_of(from)
  local name, address = from:match("^%s*(.-)%s*<([^<>]+)>%s*$")
  if not address then return from, from end
  if name == "" then return address, "<" .. address .. ">" end
  return address, encode_header(name) .. " <" .. address .. ">"
end

local function part_of(kind, text)
  return ("Content-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n"):format(
    kind, base64(text))
end

--- The message as it travels (RFC 5322, MIME). `id` makes the Message-ID: a mail that is sent again
-- after a crash has the same one, and many mailboxes then show it once.
function delivery.message(mail, id)
  local address, from = sender_of(mail.from)
  local domain = address:match("@(.+)$") or "localhost"
  local headers = {
    "From: " .. from,
    "To: <" .. mail.to .. ">",
    "Subject: " .. encode_header(mail.subject),
    "Date: " .. os.date("!%a, %d %b %Y %H:%M:%S +0000"),
    ("Message-ID: <outbox-%s@%s>"):format(id, domain),
    "Auto-Submitted: auto-generated",
    "MIME-Version: 1.0",
  }
  local body
  if mail.html then
    local boundary = "=_" .. crypto.random_token(18)
    headers[#headers + 1] = ('Content-Type: multipart/alternative; boundary="%s"'):format(boundary)
    body = ("\r\n--%s\r\n%s--%s\r\n%s--%s--\r\n"):format(boundary, part_of("text/plain", mail.text), boundary,
      part_of("text/html", mail.html), boundary)
  else
    body = part_of("text/plain", mail.text)
  end
  return table.concat(headers, "\r\n") .. "\r\n" .. body
end

local function to_mailbox(mail, id, folder)
  file.mkdir(folder)
  local name = ("%s/%s-%08d.json"):format(folder, os.date("!%Y%m%dT%H%M%S"), id)
  mail.at = os.date("!%Y-%m-%dT%H:%M:%SZ")
  -- Under another name first: a reader never finds half a mail.
  assert(file.write(name .. ".part", json.encode(mail), "600"))
  assert(file.rename(name .. ".part", name))
end

local function by_smtp(mail, id, url)
  local address = sender_of(mail.from)
  local credentials = {}
  local scheme, user, password, rest = url:match("^(%w+://)([^:@/]+):([^@/]*)@(.+)$")
  if user then
    url = scheme .. rest
    credentials.user, credentials.password = user, password
  end
  local answer, reason = http.smtp {
    url = url, from = address, to = mail.to, message = delivery.message(mail, id),
    username = credentials.user, password = credentials.password, timeout = 30,
  }
  if not answer then error(reason or "the mail server did not take it", 0) end
end

--- send({ to, from, subject, text, html = }, id). Raises when it could not be delivered; the error
-- has `permanent` when another attempt would end the same way.
function delivery.send(mail, id)
  if type(mail.to) ~= "string" or mail.to:find("[%c%s<>]") or not mail.to:find("^[^@]+@[^@]+$") then
    permanent("the address is none")
  end
  if type(mail.subject) ~= "string" or type(mail.text) ~= "string" then permanent("the mail is incomplete") end
  mail.from = mail.from or config.get("mail.from") or "noreply@localhost"
  mail.subject = mail.subject:gsub("%s+", " ")
  local smtp, mailbox = config.get("mail.smtp"), config.get("mail.mailbox")
  if smtp then return by_smtp(mail, id, smtp) end
  if mailbox then return to_mailbox(mail, id, mailbox) end
  error("neither mail.smtp nor mail.mailbox is set", 0)
end

return delivery
