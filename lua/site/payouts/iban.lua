--- Account numbers of banks: ISO 13616 (IBAN) and ISO 9362 (BIC).
local iban = {}

-- How long the numbers of a country are.
local lengths = {}
for country, length in ([[AD24 AE23 AL28 AT20 BA20 BE16 BG22 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FO18 FR27 GB22
  GE22 GI23 GL18 GR27 HR21 HU28 IE22 IL23 IS26 IT27 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MT31 NL18 NO15 PL28
  PT25 RO24 RS22 SE24 SI19 SK24 SM27 TR26 UA29]]):gmatch("(%u%u)(%d%d)") do
  lengths[country] = tonumber(length)
end

--- "de89 3704 …" → "DE893704…", or nil if it is none.
function iban.parse(text)
  local number = text:gsub("%s+", ""):upper()
  local country = number:match("^(%u%u)%d%d[%u%d]+$")
  if not country or lengths[country] ~= #number then return nil end
  local rest = 0
  for char in (number:sub(5) .. number:sub(1, 4)):gmatch(".") do
    local value = tonumber(char) or char:byte() - 55 -- A is 10
    rest = (rest * (value > 9 and 100 or 10) + value) % 97
  end
  return rest == 1 and number or nil
end

--- "DEUTDEFF" or "DEUTDEFF500", in capitals; nil if it is none.
function iban.parse_bic(text)
  local code = text:gsub("%s+", ""):upper()
  local place = "^%u%u%u%u%u%u[%u2-9][A-NP-Z0-9]"
  if code:find(place .. "$") or code:find(place .. "[%u%d][%u%d][%u%d]$") then return code end
end

return iban
