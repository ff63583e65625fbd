-- A hold sets credits aside for something that is not sure yet (a private show that was asked for):
-- captured as a whole or in part, or released, once. It is kept with its operation's key; in `due` it
-- stands as "<account>/!<op>", so that the sweeper releases what nobody captured in time.

local function hold_read(key, account)
  local v = redis.call('HMGET', key, 'st', 'w', 'hold', 'hb', 'until', 't', 'y')
  if not v[1] or v[2] ~= account then return nil end
  return { key = key, st = v[1], hold = tonumber(v[3]), hb = tonumber(v[4]), ends = tonumber(v[5]),
    kind = v[6], payee = v[7] }
end

-- Gives back what is still set aside and writes down how it ended.
local function hold_end(h, w, due, member, st)
  w.held, w.hb = w.held - h.hold, w.hb - h.hb
  w.bonus, w.paid = w.bonus + h.hb, w.paid + h.hold - h.hb
  redis.call('HSET', h.key, 'st', st, 'hold', '0', 'hb', '0')
  redis.call('ZREM', due, member)
end

-- keys: wallet, out, op, due; arguments: account, op, amount, payee, type, seconds, now
-- Moves nothing in the ledger's eyes, so there is no outbox entry.
local function hold(keys, args)
  local account, op, payee, kind = args[1], args[2], args[4], args[5]
  local bad = op_check(account, op, kind, '', '', '')
  if bad then return bad end
  local amount, seconds = integer(args[3], 1, MOST), integer(args[6], 1, MOST_SESSION)
  if not amount then return fail('BADAMOUNT', 'amount must be whole micro-credits above zero') end
  if not seconds then return fail('BADTIME', 'a hold lasts 1 second to a day') end
  if not integer(payee, 0, MOST) then return fail('BADPAYEE', 'payee must be a number') end
  local content = table.concat({ 'hold', account, args[3], payee, kind, args[6] }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, 0, 0, 0, 1) end
  if w.frozen then return fail('FROZEN', 'the wallet is frozen') end
  if w.paid + w.bonus < amount then return fail('NOFUNDS', 'not enough credits') end
  local b = math.min(w.bonus, amount)
  local at = now_ms(args[7])
  w.bonus, w.paid = w.bonus - b, w.paid - (amount - b)
  w.held, w.hb = w.held + amount, w.hb + b
  wallet_write(w)
  op_remember(keys[3], content, 0, 0, 0, kind, payee, at)
  redis.call('HSET', keys[3], 'st', 'held', 'w', account, 'hold', text_of(amount), 'hb', text_of(b),
    'until', text_of(at + seconds * 1000))
  redis.call('ZADD', keys[4], text_of(at + seconds * 1000), account .. '/!' .. op)
  return wallet_reply(w, 0, 0, 0, 0)
end

-- keys: wallet, out, op, due, the hold's op
-- arguments: account, op, amount, the hold's op, reason, actor, extra, now
local function capture(keys, args)
  local account, op, held_op, reason, actor = args[1], args[2], args[4], args[5], args[6]
  local bad = op_check(account, op, 'capture', reason, actor, args[7])
  if bad then return bad end
  local amount = integer(args[3], 1, MOST)
  if not amount then return fail('BADAMOUNT', 'amount must be whole micro-credits above zero') end
  if not is_key(held_op) or held_op == op then return fail('BADKEY', 'the hold must have a key of its own') end
  local h = hold_read(keys[5], account)
  if not h then return fail('NOORIGINAL', 'there is no such hold') end
  -- Refunds read this: a capture is a debit of the hold's type.
  local content = table.concat({ 'debit', account, args[3], h.payee, h.kind, held_op }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, known.p, known.b, known.d, 1) end
  if h.st ~= 'held' then return fail('CLOSED', 'the hold is over') end
  if amount > h.hold then return fail('TOOMUCH', 'more than was set aside') end
  local b = math.min(h.hb, amount)
  local p = amount - b
  local at = now_ms(args[8])
  h.hold, h.hb = h.hold - amount, h.hb - b
  w.held, w.hb = w.held - amount, w.hb - b
  hold_end(h, w, keys[4], account .. '/!' .. held_op, 'captured')
  emit(keys[2], w, account, h.kind, op, at, -p, -b, 0,
    { 'y', h.payee, 'c', actor, 'r', reason, 'x', held_op, 'j', args[7] })
  wallet_write(w)
  op_remember(keys[3], content, -p, -b, 0, h.kind, h.payee, at)
  return wallet_reply(w, -p, -b, 0, 0)
end

-- keys: wallet, due, the hold's op; arguments: account, the hold's op, grace, now
-- With a grace (the sweeper) only what ended so many milliseconds ago.
local function release(keys, args)
  local account, held_op, now = args[1], args[2], now_ms(args[4])
  local grace = args[3] ~= '' and integer(args[3], 0, MOST)
  if grace == nil then return fail('BADTIME', 'grace must be milliseconds') end
  local h = hold_read(keys[3], account)
  if not h then
    redis.call('ZREM', keys[2], account .. '/!' .. held_op)
    return fail('NOORIGINAL', 'there is no such hold')
  end
  local w = wallet_read(keys[1])
  if h.st == 'released' then return wallet_reply(w, 0, 0, 0, 1) end
  if h.st ~= 'held' then return fail('CLOSED', 'the hold was captured') end
  if grace and now < h.ends + grace then return fail('ALIVE', 'the hold is not over') end
  hold_end(h, w, keys[2], account .. '/!' .. held_op, 'released')
  wallet_write(w)
  return wallet_reply(w, 0, 0, 0, 0)
end
