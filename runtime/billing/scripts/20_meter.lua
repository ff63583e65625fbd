-- A meter's session. `due` is what was charged so far (dueb of it from bonus), `hold` what is
-- reserved (hb of it bonus), `upto` how far the charge has come, `dl` how far the reservation
-- reaches: the end of the lease. All times are milliseconds of this server's clock. `free` grows by
-- the granted seconds that were taken (`gs`: from which). A pause that is over has moved t0, upto and
-- dl on by its length, so time that was paused is no time; `began` stays.

local session_names = { 'st', 'upto', 'due', 'dueb', 'hold', 'hb', 'dl', 'n', 'why', 't0', 'free', 'gs', 'pz',
  'pn' }

local function session_read(key)
  local v = redis.call('HMGET', key, 'st', 'w', 'rate', 'inc', 'min', 'free', 'limit', 'q', 't0',
    'upto', 'due', 'dueb', 'hold', 'hb', 'dl', 'n', 'payee', 'terms', 'why',
    'pz', 'pn', 'gs', 'began')
  if not v[1] then return nil end
  local s = {
    key = key, st = v[1], w = v[2], rate = tonumber(v[3]), inc = tonumber(v[4]),
    min = tonumber(v[5]), free = tonumber(v[6]), limit = tonumber(v[7]), q = tonumber(v[8]),
    t0 = tonumber(v[9]), upto = tonumber(v[10]), due = tonumber(v[11]), dueb = tonumber(v[12]),
    hold = tonumber(v[13]), hb = tonumber(v[14]), dl = tonumber(v[15]), n = tonumber(v[16]),
    payee = v[17], terms = v[18], why = v[19] or '',
    pz = tonumber(v[20]) or 0, pn = tonumber(v[21]) or 0, gs = v[22] or '', began = v[23] or v[9],
  }
  local was = {}
  for i = 1, #session_names do was[session_names[i]] = s[session_names[i]] end
  s.was = was
  return s
end

local function session_write(s)
  write_changed(s, session_names)
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
  day_begin(w, now)
  local day = day_limit(w)
  if day > 0 then
    -- Whole seconds, because a second that was begun is charged.
    local room = math.max(day - w.dused - w.dheld, 0)
    local reach = divide(s.dl - s.t0 + room, 1000) * 1000
    if wanted > reach then wanted, s.why = reach, 'daily' end
    if s.t0 + wanted <= s.dl then return end
  end
  if w.frozen then
    s.why = 'frozen'
    return
  end
  -- Granted seconds lengthen what is free, as long as nothing was charged or reserved.
  if s.due + s.hold == 0 then
    local some, taken = grants_take(w, s.payee, divide(wanted + 999, 1000) - s.free, now)
    if some > 0 then
      s.free, s.gs = s.free + some, grants_text(grants_add(grants_read(s.gs), taken))
    end
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
  w.dheld = w.dheld + s.t0 + wanted - s.dl
  s.hold, s.hb, s.dl = s.hold + more, s.hb + b, s.t0 + wanted
end

-- Charges up to `at`, never beyond the lease and never back. Returns paid and bonus parts.
local function charge(s, w, at)
  at = math.max(s.upto, math.min(at, s.dl))
  local amount = math.min(price(s, at - s.t0) - s.due, s.hold)
  w.dused, w.dheld = w.dused + at - s.upto, math.max(w.dheld - (at - s.upto), 0)
  s.upto = at
  if amount <= 0 then return 0, 0 end
  local b = math.min(s.hb, amount)
  local p = amount - b
  s.hold, s.hb, s.due, s.dueb = s.hold - amount, s.hb - b, s.due + amount, s.dueb + b
  w.held, w.hb = w.held - amount, w.hb - b
  return p, b
end

local function meter_reply(s, w, now, p, b)
  if s.st == 'open' and s.pz > 0 then
    return { w.seq, w.paid, w.bonus, w.held, w.frozen and 1 or 0, w.debt, p, b, 1,
      math.max(s.pz + PAUSE_MS - now, 0), 'paused', s.due, s.upto - s.t0, s.n, s.dl, s.pn }
  end
  return { w.seq, w.paid, w.bonus, w.held, w.frozen and 1 or 0, w.debt, p, b,
    s.st == 'open' and 1 or 0, math.max(s.dl - now, 0), s.why, s.due, s.upto - s.t0, s.n, s.dl, s.pn }
end

-- The entry of a charge: with the totals of the session, so that shares of them cannot drift.
local function meter_emit(s, w, keys, account, sid, kind, now, p, b, more)
  s.n = s.n + 1
  local fields = { 'y', s.payee, 'x', sid, 'xt', s.began, 'ms', text_of(s.upto - s.t0),
    'tp', text_of(s.due - s.dueb), 'tb', text_of(s.dueb) }
  for _, value in ipairs(more) do fields[#fields + 1] = value end
  local epoch = redis.call('GET', keys[5]) or '0'
  emit(keys[4], w, account, kind, 'm:' .. epoch .. ':' .. sid .. ':' .. text_of(s.n), now, -p, -b, 0, fields)
end

-- keys: session, wallet, due; arguments: account, sid, rate, increment, minimum, free, limit,
-- quantum, payee, percent off in basis points, now. Charges nothing, so it writes no outbox entry.
local function open(keys, args)
  local account, sid, now = args[1], args[2], now_ms(args[11])
  if not integer(account, 1, MOST) then return fail('BADACCOUNT', 'account must be a number') end
  if not is_key(sid) or #sid > 100 then return fail('BADKEY', 'sid must be 1 to 100 letters') end
  local s = {
    key = keys[1], st = 'open', w = account, list = integer(args[3], 1, MOST_RATE),
    inc = integer(args[4], 1, 3600), min = integer(args[5], 0, MOST_RATE),
    free = integer(args[6], 0, MOST_SESSION), limit = integer(args[7], 0, MOST_SESSION),
    q = integer(args[8], 1, 3600), t0 = now, upto = now, due = 0, dueb = 0, hold = 0, hb = 0,
    dl = now, n = 0, payee = args[9], why = '', pz = 0, pn = 0, gs = '', began = text_of(now),
    off = optional(args[10], 0, 9999, 0), was = {},
  }
  if not (s.list and s.inc and s.min and s.free and s.limit and s.q
      and s.off and integer(s.payee, 0, MOST)) then
    return fail('BADTERMS', 'rate, increment, minimum, free, limit, quantum, payee or percent off is out of range')
  end
  -- The price of this moment, whatever becomes of the promotion.
  s.rate = math.max(divide(s.list * (10000 - s.off), 10000), 1)
  s.terms = table.concat(args, ' ', 1, 9) .. (s.off > 0 and ' ' .. args[10] or '')
  local w = wallet_read(keys[2])
  local known = session_read(keys[1])
  if known then
    if known.terms ~= s.terms then return fail('DUPLICATE', 'this sid was used with other terms') end
    if known.st ~= 'open' then return fail('CLOSED', 'this session is over') end
    return meter_reply(known, w, now, 0, 0)
  end
  if w.frozen then return fail('FROZEN', 'the wallet is frozen') end
  reserve(s, w, now)
  if s.dl <= now then
    if s.why == 'daily' then return fail('DAYLIMIT', 'the time of this day is used up') end
    return fail('NOFUNDS', 'not enough credits for one second')
  end
  redis.call('HSET', s.key, 'w', account, 'rate', text_of(s.rate), 'list', args[3], 'inc', args[4],
    'min', args[5], 'limit', args[7], 'q', args[8], 'began', s.began, 'payee', args[9], 'terms', s.terms)
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
  if s.st ~= 'open' or s.pz > 0 then return meter_reply(s, w, now, 0, 0) end
  if now > s.dl + STALE_MS then return fail('STALE', 'the lease ended long ago') end
  local lease = s.dl
  reserve(s, w, now)
  local p, b = charge(s, w, now - ago)
  if p + b > 0 then meter_emit(s, w, keys, account, sid, 'meter', now, p, b, {}) end
  session_write(s)
  wallet_write(w)
  if s.dl ~= lease then redis.call('ZADD', keys[3], text_of(s.dl), account .. '/' .. sid) end
  return meter_reply(s, w, now, p, b)
end

-- keys: as tick; arguments: account, sid, ago (how many milliseconds ago the picture stopped), the
-- number of this pause, now. Charges up to there; then no time passes until resume. What is reserved
-- stays so. A pause that was ended is not begun again by a late repeat: its number is used up.
local function pause(keys, args)
  local account, sid, now = args[1], args[2], now_ms(args[5])
  local ago, number = integer(args[3], 0, MOST), integer(args[4], 1, 1000000)
  if not ago or not number then return fail('BADTIME', 'times and numbers must be whole') end
  local s = session_read(keys[1])
  if not s or s.w ~= account then return fail('UNKNOWNSID', 'there is no such session') end
  local w = wallet_read(keys[2])
  if s.st ~= 'open' or number <= s.pn then return meter_reply(s, w, now, 0, 0) end
  if s.pz > 0 then -- the end of the one before was lost: the same pause, by another number
    s.pn = number
    session_write(s)
    return meter_reply(s, w, now, 0, 0)
  end
  if now > s.dl + STALE_MS then return fail('STALE', 'the lease ended long ago') end
  local p, b = charge(s, w, now - ago)
  s.pz, s.pn = math.max(now - ago, s.upto), number
  if p + b > 0 then meter_emit(s, w, keys, account, sid, 'meter', now, p, b, {}) end
  session_write(s)
  wallet_write(w)
  redis.call('ZADD', keys[3], text_of(s.pz + PAUSE_MS), account .. '/' .. sid)
  return meter_reply(s, w, now, p, b)
end

-- keys: as tick; arguments: account, sid, the number of the pause, now
local function resume(keys, args)
  local account, sid, now = args[1], args[2], now_ms(args[4])
  local number = integer(args[3], 1, 1000000)
  if not number then return fail('BADTIME', 'a number must be whole') end
  local s = session_read(keys[1])
  if not s or s.w ~= account then return fail('UNKNOWNSID', 'there is no such session') end
  local w = wallet_read(keys[2])
  if s.st ~= 'open' or s.pz == 0 or number ~= s.pn then return meter_reply(s, w, now, 0, 0) end
  if now > s.pz + PAUSE_MS then return fail('STALE', 'the pause was too long') end
  local passed = math.max(now - s.pz, 0)
  s.t0, s.upto, s.dl, s.pz = s.t0 + passed, s.upto + passed, s.dl + passed, 0
  reserve(s, w, now)
  session_write(s)
  wallet_write(w)
  redis.call('ZADD', keys[3], text_of(s.dl), account .. '/' .. sid)
  return meter_reply(s, w, now, 0, 0)
end

-- Gives back the granted seconds that were not used. They end when they would have ended.
local function return_grants(s, w)
  if s.gs == '' then return 0 end
  local taken, sum = grants_read(s.gs), 0
  for _, g in ipairs(taken) do sum = sum + g.left end
  local unused = math.min(math.max(s.free - divide(s.upto - s.t0 + 999, 1000), 0), sum)
  local used, back = sum - unused, {}
  for i = #taken, 1, -1 do
    local some = math.min(taken[i].left, unused)
    unused = unused - some
    taken[i].left = taken[i].left - some
    if some > 0 then
      back[#back + 1] = { op = taken[i].op, left = some, ends = taken[i].ends, payee = taken[i].payee }
    end
  end
  if #back > 0 then w.grants = grants_text(grants_add(grants_read(w.grants), back)) end
  local kept = {}
  for _, g in ipairs(taken) do
    if g.left > 0 then kept[#kept + 1] = g end
  end
  s.free, s.gs = s.free - (sum - used), grants_text(kept)
  return used
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
  local ends = s.pz > 0 and s.pz + PAUSE_MS or s.dl
  if grace and now < ends + grace then return fail('ALIVE', 'the session was extended') end
  local p, b = charge(s, w, (grace or s.pz > 0) and s.upto or now - ago)
  local used = return_grants(s, w)
  w.dheld = math.max(w.dheld - (s.dl - s.upto), 0)
  w.held, w.hb = w.held - s.hold, w.hb - s.hb
  w.bonus, w.paid = w.bonus + s.hb, w.paid + s.hold - s.hb
  s.hold, s.hb, s.st, s.why, s.pz = 0, 0, 'closed', reason, 0
  meter_emit(s, w, keys, account, sid, 'meter_close', now, p, b, { 'total', text_of(s.due), 'r', reason,
    'j', used > 0 and '{"granted_seconds":' .. text_of(used) .. '}' or '' })
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
