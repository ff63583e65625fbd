--- Conditional requests: whether a client has already what a handler would make (RFC 9110, 13).
local conditional = {}

local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }
local names = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }

-- Days since 1970 of a date of the Gregorian calendar.
local function day_number(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
end

--- Seconds since 1970 of "Tue, 24 Nov 2026 10:00:00 GMT", or nil.
function conditional.parse_date(text)
  local day, month, year, hour, minute, second = tostring(text):match(
    "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  if not day or not months[month] then return nil end
  return day_number(tonumber(year), months[month], tonumber(day)) * 86400 + hour * 3600 + minute * 60
    + math.tointeger(tonumber(second))
end

--- The other way.
function conditional.date(seconds)
  seconds = math.floor(seconds)
  local parts = os.date("!*t", seconds)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(days[parts.wday], parts.day, names[parts.month], parts.year,
    parts.hour, parts.min, parts.sec)
end

-- Weak comparison: whether one of the tags of If-None-Match is ours.
local function matches(header, tag)
  if header:find("^%s*%*%s*$") then return true end
  local plain = tag:gsub("^W/", "")
  for one in header:gmatch('"[^"]*"') do
    if one == plain then return true end
  end
  return false
end

--- For Request:unchanged: the headers of the answer, and whether the client has it.
function conditional.check(req, is)
  local headers, has = {}, false
  local tag = is.etag and ('W/"%s"'):format((tostring(is.etag):gsub('[^%w_.:-]', "_")))
  if tag then headers.ETag = tag end
  if is.modified then headers["Last-Modified"] = conditional.date(is.modified) end
  if req.method == "GET" or req.method == "HEAD" then
    local none_match, since = req.headers["if-none-match"], req.headers["if-modified-since"]
    if none_match then
      has = tag ~= nil and matches(none_match, tag)
    elseif since and is.modified then
      local time = conditional.parse_date(since)
      has = time ~= nil and math.floor(is.modified) <= time
    end
  end
  return headers, has
end

return conditional
