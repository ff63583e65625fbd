--- How often somebody may do something, counted in the main Redis for all instances together.
local log = require "runtime.log"

local rate_limit = {}

local function key_of(name, key) return ("limit:%s:%s"):format(name, key) end

-- Long or strange keys (an address, what somebody typed) are hashed, so that their length is ours.
local function short(key)
  key = tostring(key)
  if #key <= 64 and key:find("^[%w:._@|-]*$") then return key end
  return require("footlight.secret").hash(key)
end

--- Counts one use of `name` by `key` in a window of `seconds` that begins with the first one. Returns
-- true, or false and the seconds until the window ends. When Redis is away everything is allowed, and
-- logged: limits protect the site, and shall not be what takes it down.
function rate_limit.hit(name, key, count, seconds)
  local redis = require "runtime.redis"
  local at = key_of(name, short(key))
  local ok, used, left = pcall(function()
    local replies = redis.pipeline(function(p)
      p.call("SET", at, 0, "EX", seconds, "NX")
      p.call("INCR", at)
      p.call("TTL", at)
    end)
    return replies[2], replies[3]
  end)
  if not ok or math.type(used) ~= "integer" then
    log.warn("rate_limit.not_counted", { limit = name, error = tostring(used) })
    return true
  end
  if used <= count then return true end
  return false, math.max(math.tointeger(left) or seconds, 1)
end

--- Forgets what was counted, after a success.
function rate_limit.clear(name, key)
  local redis = require "runtime.redis"
  local ok, reason = pcall(redis.call, "DEL", key_of(name, short(key)))
  if not ok then log.warn("rate_limit.not_cleared", { limit = name, error = reason }) end
end

return rate_limit
