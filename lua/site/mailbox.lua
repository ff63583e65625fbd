--- Development: the mails that were not sent, one JSON file each in the folder mail.mailbox.
local config = require "runtime.config"
local file = require "runtime.file"
local json = require "runtime.json"

local mailbox = {}

-- Links back to this site are shown as buttons with a local path.
local function links_of(text, t)
  local base = (config.get("site.url") or ""):gsub("/$", "")
  local links = {}
  for url in text:gmatch("https?://[^%s<>\"]+") do
    if base ~= "" and url:sub(1, #base + 1) == base .. "/" then
      links[#links + 1] = { href = url:sub(#base + 1), label = t("mailbox.open_link") }
    end
  end
  return links
end

--- The newest `count` mails: { to, subject, text, at, links }.
function mailbox.latest(count, t)
  local folder = config.get("mail.mailbox")
  local found = {}
  local names = {}
  for _, name in ipairs(folder and file.list(folder) or {}) do
    if name:find("%.json$") then names[#names + 1] = name end
  end
  table.sort(names, function(a, b) return a > b end) -- named by time
  for _, name in ipairs(names) do
    local ok, mail = pcall(function() return json.decode(file.read(folder .. "/" .. name)) end)
    if ok and type(mail) == "table" then
      local text = tostring(mail.text or "")
      local to = mail.to
      if type(to) == "table" then to = table.concat(to, ", ") end
      found[#found + 1] = {
        to = tostring(to or ""), subject = tostring(mail.subject or ""), text = text,
        at = tostring(mail.at or mail.sent_at or ""), links = links_of(text, t),
      }
    end
    if #found == count then break end
  end
  return found
end

return mailbox
