---@meta footlight.i18n
--- Messages in the reader's language.
local i18n = {}

---@type string the language that others fall back to
i18n.default = "en"

--- Reads the catalogues of the site, or takes { language = { key = message } }.
---@param given? table
function i18n.load(given) end

--- The default one first.
---@return string[]
function i18n.languages() end

---@param language string
---@return table<string, string|table>
function i18n.catalogue(language) end

--- Keys that end in _html give markup whose values are escaped.
---@param locale string
---@param key string
---@param values? table
---@return string
function i18n.translate(locale, key, values) end

---@param locale string
---@return fun(key: string, values?: table): string
function i18n.translator(locale) end

---@param key string
---@param locale? string
---@return boolean
function i18n.has(key, locale) end

--- 1234567 → "1,234,567"
---@param number integer
---@param locale? string
---@return string
function i18n.number(number, locale) end

--- The best language for an Accept-Language header.
---@param header? string
---@return string
function i18n.negotiate(header) end

return i18n
