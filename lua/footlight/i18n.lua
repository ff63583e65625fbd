--- Messages in the reader's language.
--
-- A catalogue is lua/<area>/locales/<language>.lua: a table of key → text, in which {name} stands for
-- a value, or key → { one =, few =, other = … } chosen by the value `count` (or `n`). All areas of a
-- language are one catalogue; footlight's own words are below them. A key that a language lacks is
-- taken from the default language; an unknown key is printed as it is, filled in.
local template = require "runtime.template"

local i18n = { default = "en" }

local catalogues = nil -- language → key → message
local translators = {}

-- Which form a count takes; languages that are not here have "one" for 1 and "other" for the rest.
local function slavic(n)
  local ten, hundred = n % 10, n % 100
  if ten == 1 and hundred ~= 11 then return "one" end
  if ten >= 2 and ten <= 4 and (hundred < 12 or hundred > 14) then return "few" end
  return "many"
end

local plurals = {
  fr = function(n) return n < 2 and "one" or "other" end,
  ja = function() return "other" end,
  ko = function() return "other" end,
  zh = function() return "other" end,
  th = function() return "other" end,
  vi = function() return "other" end,
  ru = slavic,
  uk = slavic,
  pl = function(n)
    if n == 1 then return "one" end
    local form = slavic(n)
    return form == "one" and "many" or form
  end,
  cs = function(n) return n == 1 and "one" or (n >= 2 and n <= 4) and "few" or "other" end,
}
plurals.sk = plurals.cs

local function language_of(locale) return (locale:match("^%a+") or ""):lower() end

--- Reads catalogues: { language = { key = message } }, for tests; without an argument those of the
-- running site.
function i18n.load(given)
  translators = {}
  if given then
    catalogues = given
    return
  end
  catalogues = {}
  local files = template.files(template.root() .. "/lua")
  -- footlight's words first: a site's of the same key replace them.
  table.sort(files, function(a, b)
    local own_a, own_b = a:find("^footlight/") ~= nil, b:find("^footlight/") ~= nil
    if own_a ~= own_b then return own_a end
    return a < b
  end)
  for _, path in ipairs(files) do
    local area, language = path:match("^([%w_/]+)/locales/([%a_%-]+)%.lua$")
    if area then
      local messages = require((area:gsub("/", ".")) .. ".locales." .. language)
      catalogues[language] = catalogues[language] or {}
      for key, message in pairs(messages) do catalogues[language][key] = message end
    end
  end
end

local function loaded()
  if not catalogues then i18n.load() end
  return catalogues
end

--- The languages there are, the default one first.
function i18n.languages()
  local list = {}
  for language in pairs(loaded()) do
    if language ~= i18n.default then list[#list + 1] = language end
  end
  table.sort(list)
  table.insert(list, 1, i18n.default)
  return list
end

function i18n.catalogue(language) return loaded()[language] or {} end

local function lookup(locale, key)
  local all = loaded()
  local messages = all[locale] or all[language_of(locale)]
  local message = messages and messages[key]
  if message == nil and all[i18n.default] then message = all[i18n.default][key] end
  return message
end

local function choose(message, locale, values)
  if type(message) ~= "table" then return message end
  local count = values and (values.count or values.n)
  count = math.abs(math.tointeger(tonumber(count) or 0) or 2)
  local rule = plurals[language_of(locale)]
  local form = rule and rule(count) or (not rule and count == 1 and "one") or "other"
  return message[form] or message.other or message.one or ""
end

-- 1234567 → "1,234,567" as the language writes it.
local function group(number, separator)
  local text = ("%d"):format(number)
  local sign, digits = text:match("^(-?)(%d+)$")
  digits = digits:reverse():gsub("(%d%d%d)", "%1" .. separator):reverse()
  if digits:sub(1, #separator) == separator then digits = digits:sub(#separator + 1) end
  return sign .. digits
end

function i18n.number(number, locale)
  local separator = lookup(locale or i18n.default, "format.thousands") or ","
  return group(number, separator:reverse())
end

--- translate("en", "home.count", { count = 3 }). Keys that end in _html give markup, in which the
-- values are escaped.
function i18n.translate(locale, key, values)
  local message = lookup(locale, key)
  local text = choose(message == nil and key or message, locale, values)
  local markup = key:find("_html$") ~= nil
  if values and text:find("{", 1, true) then
    text = text:gsub("{([%a_][%w_]*)}", function(name)
      local value = values[name]
      if value == nil then return nil end
      if math.type(value) == "integer" and math.abs(value) >= 10000 then
        value = i18n.number(value, locale)
      end
      return markup and template.escape(value) or tostring(value)
    end)
  end
  return markup and template.safe(text) or text
end

--- Whether any catalogue knows the key in that language (or, without one, in the default language).
function i18n.has(key, locale) return lookup(locale or i18n.default, key) ~= nil end

--- translator("de") → t(key, values)
function i18n.translator(locale)
  local t = translators[locale]
  if not t then
    t = function(key, values) return i18n.translate(locale, key, values) end
    translators[locale] = t
  end
  return t
end

--- The best language for an Accept-Language header, or the default one.
function i18n.negotiate(header)
  local best, quality = i18n.default, 0
  local count = 0
  for part in (header or ""):gmatch("[^,]+") do
    count = count + 1
    if count > 20 then break end
    local tag, q = part:match("^%s*([%a%-]+)%s*;%s*q=([%d.]+)%s*$")
    tag, q = tag or part:match("^%s*([%a%-]+)%s*$"), tonumber(q or "1") or 0
    if tag and q > quality then
      local known = loaded()[tag] and tag or loaded()[language_of(tag)] and language_of(tag)
      if known then best, quality = known, q end
    end
  end
  return best
end

return i18n
