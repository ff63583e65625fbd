-- A wallet: what may be spent (paid, bonus), what meters have reserved (held, of which hb is bonus),
-- what is owed after a chargeback (debt), and the number of its last change. For meters: free seconds
-- that were granted (15_allowance.lua), and how long a day may be watched, in milliseconds: by the
-- site's word (dsite) and by the viewer's own (down), 0 for no limit; how much of `day` was watched
-- (dused) and is covered by the leases of open sessions (dheld).

local wallet_names = { 'paid', 'bonus', 'held', 'hb', 'seq', 'frozen', 'debt', 'grants', 'day', 'dused', 'dheld' }

local function wallet_read(key)
  local v = redis.call('HMGET', key, 'paid', 'bonus', 'held', 'hb', 'seq', 'frozen', 'debt',
    'grants', 'day', 'dused', 'dheld', 'dsite', 'down')
  local w = {
    key = key,
    paid = tonumber(v[1]) or 0, bonus = tonumber(v[2]) or 0,
    held = tonumber(v[3]) or 0, hb = tonumber(v[4]) or 0,
    seq = tonumber(v[5]) or 0, frozen = v[6] == '1', debt = tonumber(v[7]) or 0,
    grants = v[8] or '', day = tonumber(v[9]) or 0, dused = tonumber(v[10]) or 0,
    dheld = tonumber(v[11]) or 0, dsite = tonumber(v[12]) or 0, down = tonumber(v[13]) or 0,
  }
  local was = {}
  for i = 1, #wallet_names do
    -- What was never written is written as soon as something is.
    if v[i] then was[wallet_names[i]] = w[wallet_names[i]] end
  end
  w.was = was
  return w
end

local function wallet_write(w)
  write_changed(w, wallet_names)
end

-- The first seven numbers of every answer.
local function wallet_reply(w, ...)
  return { w.seq, w.paid, w.bonus, w.held, w.frozen and 1 or 0, w.debt, ... }
end

-- One outbox entry: p and b are what the wallet's paid and bonus side gained (held included, so a
-- reservation is no change), d what its debt gained. Fields that are empty are left out.
local function emit(out, w, account, kind, op, at, p, b, d, more)
  w.seq = w.seq + 1
  local entry = {
    'w', account, 's', text_of(w.seq), 't', kind, 'o', op, 'at', text_of(at),
    'p', text_of(p), 'b', text_of(b), 'd', text_of(d),
  }
  for i = 1, #more, 2 do
    local name, value = more[i], more[i + 1]
    -- The totals of a sale say something when they are 0.
    if value ~= '' and (value ~= '0' or name == 'tp' or name == 'tb') then
      entry[#entry + 1] = name
      entry[#entry + 1] = value
    end
  end
  redis.call('XADD', out, '*', unpack(entry))
end

-- What is remembered of an operation: its content, to tell a repeat from a contradiction, and its
-- answer. rp and rb are what refunds have given back of it. What the ledger cannot tell exactly is kept
-- as "~<account>" (fl_recall): any content of that account is its repeat.
local function op_recall(key, content)
  local v = redis.call('HMGET', key, 'c', 'p', 'b', 'd')
  if not v[1] then return nil end
  if v[1] ~= content and v[1] ~= string.gsub(content, '^%l+ (%d+).*$', '~%1') then
    return fail('DUPLICATE', 'this key was used for something else')
  end
  return nil, { p = tonumber(v[2]), b = tonumber(v[3]), d = tonumber(v[4]) }
end

local function op_remember(key, content, p, b, d, kind, payee, at)
  redis.call('HSET', key, 'c', content, 'p', text_of(p), 'b', text_of(b), 'd', text_of(d),
    'rp', '0', 'rb', '0', 't', kind, 'y', payee, 'at', text_of(at))
  redis.call('EXPIRE', key, OP_LIFE)
end

local function op_check(account, op, kind, reason, actor, extra)
  if not integer(account, 1, MOST) then return fail('BADACCOUNT', 'account must be a number') end
  if not is_key(op) then return fail('BADKEY', 'op must be 1 to 120 letters, digits or :._-') end
  if not is_word(kind) then return fail('BADTYPE', 'type must be a lower-case word') end
  if #reason > 400 then return fail('BADREASON', 'reason is too long') end
  if #actor > 60 then return fail('BADACTOR', 'actor is too long') end
  if #extra > 2000 then return fail('BADEXTRA', 'extra is too long') end
end

-- keys: wallet, out, op; arguments: account, op, amount, bucket, type, reason, actor, extra, now
-- Paid credits repay a debt first.
local function credit(keys, args)
  local account, op, bucket, kind, reason, actor = args[1], args[2], args[4], args[5], args[6], args[7]
  local bad = op_check(account, op, kind, reason, actor, args[8])
  if bad then return bad end
  local amount = integer(args[3], 1, MOST)
  if not amount then return fail('BADAMOUNT', 'amount must be whole micro-credits above zero') end
  if bucket ~= 'paid' and bucket ~= 'bonus' then
    return fail('BADBUCKET', 'bucket must be paid or bonus')
  end
  local content = table.concat({ 'credit', account, args[3], bucket, kind }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, known.p, known.b, known.d, 1) end
  if w.paid + w.bonus + w.held + amount > MOST then
    return fail('TOOMUCH', 'the wallet cannot hold that much')
  end
  local p, b, d = 0, 0, 0
  if bucket == 'paid' then
    local repaid = math.min(w.debt, amount)
    p, d = amount - repaid, -repaid
  else
    b = amount
  end
  local at = now_ms(args[9])
  w.paid, w.bonus, w.debt = w.paid + p, w.bonus + b, w.debt + d
  emit(keys[2], w, account, kind, op, at, p, b, d,
    { 'c', actor, 'r', reason, 'j', args[8] })
  wallet_write(w)
  op_remember(keys[3], content, p, b, d, kind, '0', at)
  return wallet_reply(w, p, b, d, 0)
end

-- keys: wallet, out, op; arguments: account, op, amount, payee, type, reason, actor, extra, now
-- Bonus first, then paid. What takes a credit back (its types are those of credits) takes it from the
-- side that it went to, also when the wallet is frozen.
-- A refusal is not remembered: after a top-up the same key may succeed.
local given_to = { purchase = 'paid', promotion = 'bonus' }
local function debit(keys, args)
  local account, op, payee, kind, reason, actor = args[1], args[2], args[4], args[5], args[6], args[7]
  local bad = op_check(account, op, kind, reason, actor, args[8])
  if bad then return bad end
  local amount = integer(args[3], 1, MOST)
  if not amount then return fail('BADAMOUNT', 'amount must be whole micro-credits above zero') end
  if not integer(payee, 0, MOST) then return fail('BADPAYEE', 'payee must be a number') end
  local content = table.concat({ 'debit', account, args[3], payee, kind }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, known.p, known.b, known.d, 1) end
  local side = given_to[kind]
  if w.frozen and kind ~= 'adjustment' and not side then return fail('FROZEN', 'the wallet is frozen') end
  local there = w.paid + w.bonus
  if side then there = w[side] end
  if there < amount then return fail('NOFUNDS', 'not enough credits') end
  local b = math.min(w.bonus, amount)
  if side then b = side == 'bonus' and amount or 0 end
  local p = amount - b
  local at = now_ms(args[9])
  w.paid, w.bonus = w.paid - p, w.bonus - b
  emit(keys[2], w, account, kind, op, at, -p, -b, 0,
    { 'y', payee, 'c', actor, 'r', reason, 'j', args[8] })
  wallet_write(w)
  op_remember(keys[3], content, -p, -b, 0, kind, payee, at)
  return wallet_reply(w, -p, -b, 0, 0)
end

-- keys: wallet, out, op, original op, original session
-- arguments: account, op, amount (0: all that is left), original, reason, actor, now
-- Paid credits come back first: bonus was spent first, so what was spent last comes back first.
local function refund(keys, args)
  local account, op, original, reason, actor = args[1], args[2], args[4], args[5], args[6]
  local bad = op_check(account, op, 'refund', reason, actor, '')
  if bad then return bad end
  local asked = integer(args[3], 0, MOST)
  if not asked then return fail('BADAMOUNT', 'amount must be whole micro-credits') end
  if not is_key(original) then return fail('BADKEY', 'original must be an operation or a session') end
  local content = table.concat({ 'refund', account, args[3], original }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, known.p, known.b, known.d, 1) end
  local from, of = keys[4], nil
  local v = redis.call('HMGET', from, 'p', 'b', 'rp', 'rb', 'y', 'at', 'c', 'rev')
  if v[1] then
    if string.find(v[7], '^debit ' .. account .. ' ') == nil then
      return fail('NOTREFUNDABLE', 'the original took nothing from this wallet')
    end
    if v[8] then return fail('NOTREFUNDABLE', 'the original was reversed') end
    of = { p = -tonumber(v[1]), b = -tonumber(v[2]), rp = tonumber(v[3]), rb = tonumber(v[4]),
      payee = v[5], at = v[6] }
  else
    from = keys[5]
    v = redis.call('HMGET', from, 'due', 'dueb', 'rp', 'rb', 'payee', 'began', 'w', 'st', 't0')
    if not v[1] or v[7] ~= account then
      return fail('NOORIGINAL', 'the original operation is not known any more')
    end
    if v[8] ~= 'closed' then return fail('NOTREFUNDABLE', 'the session is still open') end
    of = { p = tonumber(v[1]) - tonumber(v[2]), b = tonumber(v[2]), rp = tonumber(v[3]) or 0,
      rb = tonumber(v[4]) or 0, payee = v[5], at = v[6] or v[9] }
  end
  local left_p, left_b = of.p - of.rp, of.b - of.rb
  local amount = asked == 0 and left_p + left_b or asked
  if amount < 1 or amount > left_p + left_b then
    return fail('TOOMUCH', 'more than is left to give back')
  end
  if w.paid + w.bonus + w.held + amount > MOST then
    return fail('TOOMUCH', 'the wallet cannot hold that much')
  end
  local p = math.min(left_p, amount)
  local b = amount - p
  local at = now_ms(args[7])
  w.paid, w.bonus = w.paid + p, w.bonus + b
  emit(keys[2], w, account, 'refund', op, at, p, b, 0,
    { 'y', of.payee, 'c', actor, 'r', reason, 'x', original, 'xt', of.at,
      'tp', text_of(left_p - p), 'tb', text_of(left_b - b) })
  wallet_write(w)
  redis.call('HSET', from, 'rp', text_of(of.rp + p), 'rb', text_of(of.rb + b))
  op_remember(keys[3], content, p, b, 0, 'refund', of.payee, at)
  return wallet_reply(w, p, b, 0, 0)
end

-- keys: wallet, out, op; arguments: account, op, amount, reason, actor, now
-- The bank took a purchase back: takes what is there, paid first, freezes the wallet, and books what
-- is missing as debt. Reserved credits stay with their meters, which get no more.
local function chargeback(keys, args)
  local account, op, reason, actor = args[1], args[2], args[4], args[5]
  local bad = op_check(account, op, 'chargeback', reason, actor, '')
  if bad then return bad end
  local amount = integer(args[3], 1, MOST)
  if not amount then return fail('BADAMOUNT', 'amount must be whole micro-credits above zero') end
  local content = table.concat({ 'chargeback', account, args[3] }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, known.p, known.b, known.d, 1) end
  local p = math.min(w.paid, amount)
  local b = math.min(w.bonus, amount - p)
  local d = amount - p - b
  if w.debt + d > MOST then return fail('TOOMUCH', 'the debt is too large to be counted') end
  local at = now_ms(args[6])
  w.paid, w.bonus, w.debt, w.frozen = w.paid - p, w.bonus - b, w.debt + d, true
  emit(keys[2], w, account, 'chargeback', op, at, -p, -b, d, { 'c', actor, 'r', reason })
  wallet_write(w)
  op_remember(keys[3], content, -p, -b, d, 'chargeback', '0', at)
  return wallet_reply(w, -p, -b, d, 0)
end

-- keys: wallet, out, op; arguments: account, op, 1 or 0, reason, actor, now
local function freeze(keys, args)
  local account, op, reason, actor = args[1], args[2], args[4], args[5]
  local bad = op_check(account, op, 'freeze', reason, actor, '')
  if bad then return bad end
  if args[3] ~= '0' and args[3] ~= '1' then return fail('BADAMOUNT', 'must be 0 or 1') end
  local content = table.concat({ 'freeze', account, args[3] }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, 0, 0, 0, 1) end
  local at = now_ms(args[6])
  w.frozen = args[3] == '1'
  emit(keys[2], w, account, w.frozen and 'freeze' or 'unfreeze', op, at, 0, 0, 0,
    { 'c', actor, 'r', reason })
  wallet_write(w)
  op_remember(keys[3], content, 0, 0, 0, 'freeze', '0', at)
  return wallet_reply(w, 0, 0, 0, 0)
end

-- keys: wallet
local function balance(keys)
  return wallet_reply(wallet_read(keys[1]), 0, 0, 0, 0)
end

-- keys: wallet, due, epoch; arguments: account, paid, bonus, debt, seq, frozen, epoch
-- Recovery: sets a wallet that is behind what the ledger has booked. Sessions that it had open are
-- forgotten, with what they had reserved; their meters open again. A wallet that is not behind stays.
local function restore(keys, args)
  local account, numbers = args[1], {}
  for i = 2, 5 do
    numbers[i] = integer(args[i], 0, MOST)
    if not numbers[i] then return fail('BADAMOUNT', 'a number is out of range') end
  end
  local epoch = integer(args[7], 0, 4294967295)
  if not epoch then return fail('BADAMOUNT', 'the epoch is out of range') end
  local w = wallet_read(keys[1])
  if w.seq >= numbers[5] then return wallet_reply(w, 0, 0, 0, 1) end
  local prefix = account .. '/'
  for _, member in ipairs(redis.call('ZRANGE', keys[2], 0, -1)) do
    if string.sub(member, 1, #prefix) == prefix then
      local shard, name = string.sub(keys[2], 1, -4), string.sub(member, #prefix + 1)
      if string.sub(name, 1, 1) == '!' then
        redis.call('HSET', shard .. 'i:' .. string.sub(name, 2), 'st', 'released', 'hold', '0', 'hb', '0')
      else
        redis.call('DEL', shard .. 's:' .. name)
      end
      redis.call('ZREM', keys[2], member)
    end
  end
  w.paid, w.bonus, w.debt, w.seq = numbers[2], numbers[3], numbers[4], numbers[5]
  w.held, w.hb, w.frozen = 0, 0, args[6] == '1'
  w.dheld = 0
  wallet_write(w)
  if epoch > (tonumber(redis.call('GET', keys[3])) or 0) then redis.call('SET', keys[3], args[7]) end
  return wallet_reply(w, 0, 0, 0, 0)
end
