--- What the framework asks of runtime.crypto, as text that fits into cookies and forms.
local crypto = require "runtime.crypto"

local secret = {}

--- A random token of that many bytes, in base64url.
function secret.token(bytes) return crypto.random_token(bytes) end

--- A MAC of the text with the site's cookie key, in base64url.
function secret.sign(text) return crypto.base64url(crypto.sign("cookie", text)) end

--- Whether `mac` is the one of the text; takes the same time wherever it differs.
function secret.signed(text, mac)
  return type(mac) == "string" and crypto.equal(mac, secret.sign(text))
end

--- SHA-256 in lower-case hexadecimal, as the tables of tokens hold it.
function secret.hash(text) return crypto.hex(crypto.sha256(text)) end

secret.equal = crypto.equal

return secret
