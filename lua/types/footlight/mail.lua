---@meta footlight.mail
--- Mails: rendered from templates/mail/, put into the outbox, sent by the jobs service.
local mail = {}

---@class Mail
---@field to string
---@field template string "mail/activate": the .txt sets the subject, the .html is optional
---@field values? table
---@field locale? string
---@field from? string
---@field subject? string in place of the template's

--- What would be sent: { to, from, subject, text, html }.
---@param message Mail
---@return table
function mail.render(message) end

--- Puts the mail into the outbox; with tx exactly if the transaction is committed.
---@param message Mail
---@param tx? table
---@return integer id
function mail.send(message, tx) end

return mail
