-- A hash becomes these fields and no others, and is never seen half written.
redis.call("DEL", KEYS[1])
return redis.call("HSET", KEYS[1], unpack(ARGV))
