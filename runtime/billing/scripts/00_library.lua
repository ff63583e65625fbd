#!lua name=footlight_billing
-- version 5
-- Raise the number above with every change of these files: an older binary leaves a newer library
-- alone (runtime/redis/functions.c). All files of this folder are one chunk, in order of names.
--
-- The rules of this library (docs/billing.md has the reasons):
--   * everything is read and checked before anything is written, so an error changes nothing;
--   * amounts are whole micro-credits of at most 2^53-1, because Lua's numbers are doubles here,
--     and are written with %d, because 1e15 by itself would be written as "1e+15";
--   * the clock is the server's own. The last argument `now` of a function replaces it in tests.

local MOST = 9007199254740991
local MOST_RATE = 1000000000 -- micro-credits a minute
local MOST_SESSION = 86400   -- seconds
local OP_LIFE = 7 * 86400
local CLOSED_LIFE = 86400
local STALE_MS = 90000
local PAUSE_MS = 600000      -- the longest pause of a meter
local DAY_MS = 86400000

local function fail(code, text)
  return redis.error_reply(code .. ' ' .. text)
end

local function text_of(number)
  return string.format('%d', number)
end

-- Writes those of the names whose values are not what they were when `thing` was read (thing.was): most
-- of a tick's work for Redis is in what it writes, to the hash and to the append-only file.
local function write_changed(thing, names)
  local set, was = {}, thing.was
  for i = 1, #names do
    local name = names[i]
    local value = thing[name]
    if was[name] ~= value then
      was[name] = value
      if type(value) == 'number' then
        value = text_of(value)
      elseif type(value) == 'boolean' then
        value = value and '1' or '0'
      end
      set[#set + 1] = name
      set[#set + 1] = value
    end
  end
  if #set > 0 then redis.call('HSET', thing.key, unpack(set)) end
end

-- a / b for whole numbers, rounded down, without the rounding of a double's division.
local function divide(a, b)
  return (a - a % b) / b
end

-- Decimal digits only; nil for anything else and for what is outside least..most.
local function integer(text, least, most)
  if type(text) ~= 'string' or #text > 16 or not string.find(text, '^%d+$') then return nil end
  local number = tonumber(text)
  if number < least or number > most then return nil end
  return number
end

-- As integer, of something that may be left out.
local function optional(text, least, most, otherwise)
  if text == nil or text == '' then return otherwise end
  return integer(text, least, most)
end

local function is_key(text)
  return #text >= 1 and #text <= 120 and not string.find(text, '[^%w:._-]')
end

local function is_word(text)
  return #text >= 1 and #text <= 30 and not string.find(text, '[^%l_]')
end

local function now_ms(override)
  if override and override ~= '' then return tonumber(override) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + divide(tonumber(time[2]), 1000)
end
