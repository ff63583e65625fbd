---@meta runtime.crypto
--- Keys that the configuration holds are used by name ("token", "cookie", "seal", …) and never shown.
local crypto = {}

--- Argon2id, on another thread. Waits.
---@param password string at most 1024 bytes
---@return string hash
function crypto.password_hash(password) end

--- Waits.
---@param hash string
---@param password string
---@return boolean right, boolean outdated hash it anew
function crypto.password_verify(hash, password) end

---@param size integer 1 to 1024
---@return string raw
function crypto.random_bytes(size) end

---@param size? integer bytes of randomness (24)
---@return string base64url
function crypto.random_token(size) end

---@param limit integer
---@return integer uniform in 0 … limit-1
function crypto.random_below(limit) end

---@param data string
---@return string raw 32 bytes
function crypto.sha256(data) end

---@param key string
---@param data string
---@return string raw 32 bytes
function crypto.hmac_sha256(key, data) end

--- HMAC-SHA-256 with a configured key.
---@param name string
---@param data string
---@return string raw 32 bytes
function crypto.sign(name, data) end

--- Takes the same time wherever they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

--- For data at rest: authenticated encryption under a configured key.
---@param text string
---@param name? string ("seal")
---@return string box base64url
function crypto.seal(text, name) end

---@param box string
---@param name? string ("seal")
---@return string? text, string? reason
function crypto.unseal(box, name) end

--- JWT with HS256.
---@param claims table
---@param name string of the configured key
---@return string
function crypto.jwt_sign(claims, name) end

--- The claims, or nil and "not a token of ours", "expired" or "not valid yet".
---@param token string
---@param name string
---@return table? claims, string? reason
function crypto.jwt_verify(token, name) end

--- The six digits of RFC 6238.
---@param key string 10 to 64 bytes
---@param time? integer seconds
---@return string
function crypto.totp(key, time) end

--- The step that a code belongs to, or nil. Keep it and pass it as `after`: a code is good once.
---@param key string
---@param code string
---@param after? integer
---@return integer?
function crypto.totp_verify(key, code, after) end

---@param data string
---@return string without padding
function crypto.base32(data) end

---@param data string
---@return string
function crypto.hex(data) end

---@param text string
---@return string? data, string? reason
function crypto.unhex(text) end

---@param data string
---@return string
function crypto.base64(data) end

---@param data string
---@return string without padding
function crypto.base64url(data) end

---@param text string of either alphabet
---@return string? data, string? reason
function crypto.unbase64(text) end

return crypto
