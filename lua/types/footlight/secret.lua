---@meta footlight.secret
--- Tokens and MACs as text that fits into cookies and forms.
local secret = {}

--- Random, in base64url.
---@param bytes integer
---@return string
function secret.token(bytes) end

--- A MAC with the site's cookie key.
---@param text string
---@return string
function secret.sign(text) end

--- Whether it is the text's MAC; takes the same time wherever it differs.
---@param text string
---@param mac any
---@return boolean
function secret.signed(text, mac) end

--- SHA-256 in hexadecimal.
---@param text string
---@return string
function secret.hash(text) end

---@param a string
---@param b string
---@return boolean
function secret.equal(a, b) end

return secret
