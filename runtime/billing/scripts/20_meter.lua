-- A meter's session. `due` is what was charged so far (dueb of it from bonus), `hold` what is
-- reserved (hb of it bonus), `upto` how far the charge has come, `dl` how far the reservation
-- reaches: the end of the lease. All times are milliseconds of this server's clock.

local function session_read(key)
  local v = redis.call('HMGET', key, 'st', 'w', 'rate', 'inc', 'min', 'free', 'limit', 'q', 't0',
    'upto', 'due', 'dueb', 'hold', 'hb', 'dl', 'n', 'payee', 'terms', 'why')
  if not v[1] then return nil end
  return {
    key = key, st = v[1], w = v[2], rate = tonumber(v[3]), inc = tonumber(v[4]),
    min = tonumber(v[5]), free = tonumber(v[6]), limit = tonumber(v[7]), q = tonumber(v[8]),
    t0 = tonumber(v[9]), upto = tonumber(v[10]), due = tonumber(v[11]), dueb = tonumber(v[12]),
    hold = tonumber(v[13]), hb = tonumber(v[14]), dl = tonumber(v[15]), n = tonumber(v[16]),
    payee = v[17], terms = v[18], why = v[19] or '',
  }
end

local function session_write(s)
  redis.call('HSET', s.key, 'st', s.st, 'upto', text_of(s.upto), 'due', text_of(s.due),
    'dueb', text_of(s.dueb), 'hold', text_of(s.hold), 'hb', text_of(s.hb), 'dl', text_of(s.dl),
    'n', text_of(s.n), 'why', s.why)
end

-- The price of a whole session that lasted so long. A pure function of the total: charging the
-- difference to what was charged before cannot drift.
local function price(s, ms)
  local seconds = divide(ms + 999, 1000) - s.free
  if seconds <= 0 then return 0 end
  seconds = divide(seconds + s.inc - 1, s.inc) * s.inc
  return math.max(divide(s.rate * seconds, 60), s.min)
end

-- The longest session, in seconds, whose price is not above `funds`.
local function affordable(s, funds)
  if funds < s.min then return s.free end
  funds = math.min(funds, divide(MOST_RATE * MOST_SESSION, 60))
  local seconds = divide(funds * 60 + 59, s.rate) -- floor(rate * x / 60) <= funds
  return divide(seconds, s.inc) * s.inc + s.free
end

-- Reserves so that the lease reaches `now` + q, or as far as money and the limit go. Sets s.why to
-- the reason when it is less than that: then the end of the lease is final.
local function reserve(s, w, now)
  local wanted = math.max(now, s.t0) + s.q * 1000 - s.t0
  s.why = ''
  local most = s.limit > 0 and s.limit or MOST_SESSION
  if wanted >= most * 1000 then wanted, s.why = most * 1000, 'limit' end
  if s.t0 + wanted <= s.dl then return end
  if w.frozen then
    s.why = 'frozen'
    return
  end
  local funds = s.due + s.hold + w.paid + w.bonus
  if price(s, wanted) > funds then
    wanted, s.why = math.min(wanted, affordable(s, funds) * 1000), 'funds'
    if s.t0 + wanted <= s.dl then return end
  end
  local more = math.max(price(s, wanted) - s.due - s.hold, 0)
  local b = math.min(w.bonus, more)
  w.bonus, w.paid = w.bonus - b, w.paid - (more - b)
  w.held, w.hb = w.held + more, w.hb + b
  s.hold, s.hb, s.dl = s.hold + more, s.hb + b, s.t0 + wanted
end

-- Charges up to `at`, never beyond the lease and never back. Returns paid and bonus parts.
local function charge(s, w, at)
  at = math.max(s.upto, math.min(at, s.dl))
  local amount = math.min(price(s, at - s.t0) - s.due, s.hold)
  s.upto = at
  if amount <= 0 then return 0, 0 end
  local b = math.min(s.hb, amount)
  local p = amount - b
  s.hold, s.hb, s.due, s.dueb = s.hold - amount, s.hb - b, s.due + amount, s.dueb + b
  w.held, w.hb = w.held - amount, w.hb - b
  return p, b
end

local function meter_reply(s, w, now, p, b)
  return { w.seq, w.paid, w.bonus, w.held, w.frozen and 1 or 0, w.debt, p, b,
    s.st == 'open' and 1 or 0, math.max(s.dl - now, 0), s.why, s.due, s.upto - s.t0, s.n, s.dl }
end

local function epoch_of(key)
  return redis.call('GET', key) or '0'
end

-- keys: session, wallet, due; arguments: account, sid, rate, increment, minimum, free, limit,
-- quantum, payee, now. Charges nothing, so it writes no outbox entry.
local function open(keys, args)
  local account, sid, now = args[1], args[2], now_ms(args[10])
  if not integer(account, 1, MOST) then return fail('BADACCOUNT', 'account must be a number') end
  if not is_key(sid) or #sid > 100 then return fail('BADKEY', 'sid must be 1 to 100 letters') end
  local s = {
    key = keys[1], st = 'open', w = account, rate = integer(args[3], 1, MOST_RATE),
    inc = integer(args[4], 1, 3600), min = integer(args[5], 0, MOST_RATE),
    free = integer(args[6], 0, MOST_SESSION), limit = integer(args[7], 0, MOST_SESSION),
    q = integer(args[8], 1, 3600), t0 = now, upto = now, due = 0, dueb = 0, hold = 0, hb = 0,
    dl = now, n = 0, payee = args[9], why = '',
  }
  if not (s.rate and s.inc and s.min and s.free and s.limit and s.q
      and integer(s.payee, 0, MOST)) then
    return fail('BADTERMS', 'rate, increment, minimum, free, limit, quantum or payee is out of range')
  end
  s.terms = table.concat(args, ' ', 1, 9)
  local w = wallet_read(keys[2])
  local known = session_read(keys[1])
  if known then
    if known.terms ~= s.terms then return fail('DUPLICATE', 'this sid was used with other terms') end
    if known.st ~= 'open' then return fail('CLOSED', 'this session is over') end
    return meter_reply(known, w, now, 0, 0)
  end
  if w.frozen then return fail('FROZEN', 'the wallet is frozen') end
  reserve(s, w, now)
  if s.dl <= now then return fail('NOFUNDS', 'not enough credits for one second') end
  redis.call('HSET', s.key, 'w', account, 'rate', args[3], 'inc', args[4], 'min', args[5],
    'free', args[6], 'limit', args[7], 'q', args[8], 't0', text_of(now), 'payee', args[9],
    'terms', s.terms)
  session_write(s)
  wallet_write(w)
  redis.call('ZADD', keys[3], text_of(s.dl), account .. '/' .. sid)
  return meter_reply(s, w, now, 0, 0)
end

-- keys: session, wallet, due, out, epoch; arguments: account, sid, evidence (how many milliseconds
-- ago it was seen that somebody watches), now.
-- Reserve first, then charge: the other way round, a late repeat would charge what it reserves.
local function tick(keys, args)
  local account, sid, now = args[1], args[2], now_ms(args[4])
  local ago = integer(args[3], 0, MOST)
  if not ago then return fail('BADTIME', 'evidence must be milliseconds') end
  local s = session_read(keys[1])
  if not s or s.w ~= account then return fail('UNKNOWNSID', 'there is no such session') end
  local w = wallet_read(keys[2])
  if s.st ~= 'open' then return meter_reply(s, w, now, 0, 0) end
  if now > s.dl + STALE_MS then return fail('STALE', 'the lease ended long ago') end
  reserve(s, w, now)
  local p, b = charge(s, w, now - ago)
  if p + b > 0 then
    s.n = s.n + 1
    emit(keys[4], w, account, 'meter',
      'm:' .. epoch_of(keys[5]) .. ':' .. sid .. ':' .. text_of(s.n), now, -p, -b, 0,
      { 'y', s.payee, 'x', sid, 'ms', text_of(s.upto - s.t0) })
  end
  session_write(s)
  wallet_write(w)
  redis.call('ZADD', keys[3], text_of(s.dl), account .. '/' .. sid)
  return meter_reply(s, w, now, p, b)
end

-- keys: as tick; arguments: account, sid, ago (how many milliseconds ago it ended), grace, reason,
-- now. With a grace (the sweeper) it ends only what is that much past its lease, at its last
-- evidence; ago does not count then. What was reserved and not used goes back where it came from.
local function close(keys, args)
  local account, sid, reason, now = args[1], args[2], args[5], now_ms(args[6])
  local ago = integer(args[3], 0, MOST)
  local grace = args[4] ~= '' and integer(args[4], 0, MOST)
  if not ago or grace == nil then return fail('BADTIME', 'times must be milliseconds') end
  if reason ~= '' and not is_word(reason) then return fail('BADREASON', 'reason must be a word') end
  local s = session_read(keys[1])
  if not s or s.w ~= account then
    redis.call('ZREM', keys[3], account .. '/' .. sid)
    return fail('UNKNOWNSID', 'there is no such session')
  end
  local w = wallet_read(keys[2])
  if s.st ~= 'open' then return meter_reply(s, w, now, 0, 0) end
  if grace and now < s.dl + grace then return fail('ALIVE', 'the session was extended') end
  local p, b = charge(s, w, grace and s.upto or now - ago)
  w.held, w.hb = w.held - s.hold, w.hb - s.hb
  w.bonus, w.paid = w.bonus + s.hb, w.paid + s.hold - s.hb
  s.hold, s.hb, s.st, s.n, s.why = 0, 0, 'closed', s.n + 1, reason
  emit(keys[4], w, account, 'meter_close',
    'm:' .. epoch_of(keys[5]) .. ':' .. sid .. ':' .. text_of(s.n), now, -p, -b, 0,
    { 'y', s.payee, 'x', sid, 'ms', text_of(s.upto - s.t0), 'total', text_of(s.due), 'r', reason })
  session_write(s)
  wallet_write(w)
  redis.call('ZREM', keys[3], account .. '/' .. sid)
  redis.call('EXPIRE', s.key, CLOSED_LIFE)
  return meter_reply(s, w, now, p, b)
end

-- keys: session, wallet; arguments: account, sid, now
local function look(keys, args)
  local s = session_read(keys[1])
  if not s or s.w ~= args[1] then return fail('UNKNOWNSID', 'there is no such session') end
  return meter_reply(s, wallet_read(keys[2]), now_ms(args[3]), 0, 0)
end

-- keys: due; arguments: grace, count, now. The "account/sid" of leases that ended so long ago.
local function overdue(keys, args)
  local grace, count = integer(args[1], 0, MOST), integer(args[2], 1, 1000)
  if not grace or not count then return fail('BADTIME', 'grace and count must be numbers') end
  return redis.call('ZRANGEBYSCORE', keys[1], '-inf', text_of(now_ms(args[3]) - grace),
    'LIMIT', '0', args[2])
end
