--- Numbers, amounts and times as people read them. Integers only: no amount ever becomes a float.
local i18n = require "footlight.i18n"

local format = {}

local CREDIT = 1000000
local CENT = 10000 -- a hundredth of a credit in micro-credits

local function integer(value)
  if value == nil or value == "" then return nil end
  return math.tointeger(value) or math.tointeger(tonumber(value))
end

local function word(locale, key) return i18n.translate(locale or i18n.default, key) end

--- Micro-credits as credits with at most two decimals, never rounded up: 9.567 is "9.56", and what a
-- debt is shown as is never less than it is.
function format.credits(micro, locale)
  local amount = integer(micro)
  if not amount then return "" end
  local cents = amount // CENT
  local sign = cents < 0 and "-" or ""
  cents = math.abs(cents)
  local whole, rest = cents // 100, cents % 100
  local text = sign .. i18n.number(whole, locale)
  if rest == 0 then return text end
  return text .. word(locale, "format.decimal") .. ("%02d"):format(rest)
end

--- "12", "1.5" or "1,50" → micro-credits; nil for anything else.
function format.parse_credits(text)
  local whole, decimals = tostring(text):match("^%s*(%d+)[.,](%d%d?)%s*$")
  whole = whole or tostring(text):match("^%s*(%d+)%s*$")
  if not whole or #whole > 9 then return nil end
  decimals = ((decimals or "") .. "00"):sub(1, 2)
  return tonumber(whole) * CREDIT + tonumber(decimals) * CENT
end

function format.number(value, locale)
  local number = integer(value)
  if number then return i18n.number(number, locale) end
  return tostring(value or "")
end

function format.bytes(value)
  local size = integer(value) or 0
  for _, unit in ipairs { "bytes", "KiB", "MiB", "GiB" } do
    if size < 1024 or unit == "GiB" then return ("%d %s"):format(size, unit) end
    size = size // 1024
  end
end

-- Days since 1970 of a date (Howard Hinnant's civil calendar, in integers).
local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local yoe = year - era * 400
  local doy = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468
end

--- Seconds since 1970 of "2026-11-24 10:00:00[.ffffff]" (UTC, as MariaDB gives it), of seconds, or of
-- milliseconds; nil for what is no time.
function format.seconds(value)
  local number = math.tointeger(value)
  if number then return number > 100000000000 and number // 1000 or number end
  local year, month, day, rest = tostring(value or ""):match("^(%d%d%d%d)-(%d%d)-(%d%d)(.*)$")
  if not year then return nil end
  local hour, minute, second = rest:match("^[ T](%d%d):(%d%d):(%d%d)")
  return days_of(tonumber(year), tonumber(month), tonumber(day)) * 86400
    + tonumber(hour or 0) * 3600 + tonumber(minute or 0) * 60 + tonumber(second or 0)
end

local function fill(value, key, locale)
  local seconds = format.seconds(value)
  if not seconds then return "" end
  local date = os.date("!*t", seconds)
  local months = {}
  for month in word(locale, "format.months"):gmatch("%S+") do months[#months + 1] = month end
  return i18n.translate(locale or i18n.default, key, {
    year = tostring(date.year), month = months[date.month] or tostring(date.month),
    day = tostring(date.day), hour = ("%02d"):format(date.hour),
    minute = ("%02d"):format(date.min),
  })
end

function format.datetime(value, locale) return fill(value, "format.datetime", locale) end
function format.date(value, locale) return fill(value, "format.date", locale) end
function format.time(value, locale) return fill(value, "format.time", locale) end

--- "2026-11-24T10:00:00Z", for <time datetime> and for programs.
function format.iso(value)
  local seconds = format.seconds(value)
  return seconds and os.date("!%Y-%m-%dT%H:%M:%SZ", seconds) or ""
end

--- "5 minutes ago"; beyond thirty days the date.
function format.ago(value, locale, now)
  local seconds = format.seconds(value)
  if not seconds then return "" end
  local past = math.max((now or os.time()) - seconds, 0)
  locale = locale or i18n.default
  if past < 60 then return i18n.translate(locale, "ago.now") end
  if past < 3600 then return i18n.translate(locale, "ago.minutes", { count = past // 60 }) end
  if past < 86400 then return i18n.translate(locale, "ago.hours", { count = past // 3600 }) end
  if past < 30 * 86400 then return i18n.translate(locale, "ago.days", { count = past // 86400 }) end
  return format.date(value, locale)
end

return format
