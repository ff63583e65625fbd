--- Lists of IP addresses, as payment providers publish theirs: "192.0.2.0/24, 2001:db8::/32".
local addresses = {}

local function bytes_of_v4(text)
  local a, b, c, d = text:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
  if not a then return nil end
  local bytes = {}
  for i, part in ipairs { a, b, c, d } do
    bytes[i] = math.tointeger(tonumber(part))
    if bytes[i] > 255 then return nil end
  end
  return bytes
end

local function groups_of(text, bytes)
  if text == "" then return true end
  for group in (text .. ":"):gmatch("([^:]*):") do
    if not group:find("^%x%x?%x?%x?$") then return false end
    local value = tonumber(group, 16)
    bytes[#bytes + 1] = value >> 8
    bytes[#bytes + 1] = value & 255
  end
  return true
end

local function bytes_of_v6(text)
  local v4 = text:match("^::ffff:([%d.]+)$")
  if v4 then return bytes_of_v4(v4) end -- the same host, by another name
  local head, tail = text:match("^(.-)::(.*)$")
  local left, right = {}, {}
  if not groups_of(head or text, left) or not groups_of(tail or "", right) then return nil end
  if head and #left + #right > 14 or not head and #left ~= 16 then return nil end
  for _ = #left + #right + 1, 16 do left[#left + 1] = 0 end
  return table.move(right, 1, #right, #left + 1, left)
end

local function bytes_of(text)
  return text:find(":", 1, true) and bytes_of_v6(text:lower()) or bytes_of_v4(text)
end

local function within(address, network, bits)
  for i, byte in ipairs(network) do
    local left = bits - (i - 1) * 8
    if left <= 0 then return true end
    local mask = left >= 8 and 255 or (255 << (8 - left)) & 255
    if address[i] & mask ~= byte & mask then return false end
  end
  return true
end

--- Whether `address` is one of the list. What is not readable matches nothing.
function addresses.contains(list, address)
  local wanted = bytes_of(address or "")
  if not wanted then return false end
  for entry in (list or ""):gmatch("[^,%s]+") do
    local host, bits = entry:match("^([^/]+)/(%d+)$")
    local network = bytes_of(host or entry)
    bits = bits and math.tointeger(tonumber(bits)) or network and #network * 8
    if network and #network == #wanted and bits <= #network * 8 and within(wanted, network, bits) then
      return true
    end
  end
  return false
end

return addresses
