---@meta footlight.format
--- Numbers, amounts and times as people read them.
local format = {}

--- Micro-credits with at most two decimals, never rounded up.
---@param micro integer|string
---@param locale? string
---@return string
function format.credits(micro, locale) end

--- "12", "1.5" or "1,50" → micro-credits; nil for anything else.
---@param text string
---@return integer?
function format.parse_credits(text) end

---@param value integer|string
---@param locale? string
---@return string
function format.number(value, locale) end

---@param value integer
---@return string
function format.bytes(value) end

--- Seconds since 1970 of MariaDB's text (UTC), of seconds or milliseconds; nil for what is no time.
---@param value any
---@return integer?
function format.seconds(value) end

---@param value any
---@param locale? string
---@return string
function format.datetime(value, locale) end

---@param value any
---@param locale? string
---@return string
function format.date(value, locale) end

---@param value any
---@param locale? string
---@return string
function format.time(value, locale) end

--- "2026-11-24T10:00:00Z"
---@param value any
---@return string
function format.iso(value) end

--- "5 minutes ago"; after thirty days the date.
---@param value any
---@param locale? string
---@param now? integer
---@return string
function format.ago(value, locale, now) end

return format
