-- What staff put right: adjustments of either sign, the reversal of a whole operation, and operations
-- that are older than this memory, told anew from the ledger.

-- keys: wallet, out, op; arguments: account, op, amount (with a sign), bucket, reason, actor, now
-- Not without a reason and somebody who answers for it. Also on a frozen wallet; never below zero.
local function adjust(keys, args)
  local account, op, bucket, reason, actor = args[1], args[2], args[4], args[5], args[6]
  local bad = op_check(account, op, 'adjustment', reason, actor, '')
  if bad then return bad end
  if not string.find(reason, '%S') then return fail('BADREASON', 'an adjustment needs a reason') end
  if not string.find(actor, '%S') then return fail('BADACTOR', 'an adjustment needs an actor') end
  local takes = string.sub(args[3], 1, 1) == '-'
  local amount = integer(takes and string.sub(args[3], 2) or args[3], 1, MOST)
  if not amount then return fail('BADAMOUNT', 'amount must be whole micro-credits, not zero') end
  if bucket ~= 'paid' and bucket ~= 'bonus' then
    return fail('BADBUCKET', 'bucket must be paid or bonus')
  end
  local content = table.concat({ 'adjust', account, args[3], bucket }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, known.p, known.b, known.d, 1) end
  local p, b, d = 0, 0, 0
  if takes then
    if w[bucket] < amount then return fail('NOFUNDS', 'not enough credits') end
    if bucket == 'paid' then p = -amount else b = -amount end
  else
    if w.paid + w.bonus + w.held + amount > MOST then
      return fail('TOOMUCH', 'the wallet cannot hold that much')
    end
    if bucket == 'paid' then
      local repaid = math.min(w.debt, amount)
      p, d = amount - repaid, -repaid
    else
      b = amount
    end
  end
  local at = now_ms(args[7])
  w.paid, w.bonus, w.debt = w.paid + p, w.bonus + b, w.debt + d
  emit(keys[2], w, account, 'adjustment', op, at, p, b, d, { 'c', actor, 'r', reason })
  wallet_write(w)
  op_remember(keys[3], content, p, b, d, 'adjustment', '0', at)
  return wallet_reply(w, p, b, d, 0)
end

local reversible = { credit = true, debit = true, adjust = true, chargeback = true }

-- keys: wallet, out, op, original op; arguments: account, op, original, reason, actor, now
-- Undoes a whole operation, bucket by bucket, once: the ledger books the mirror of its legs. What a
-- chargeback left as debt and was repaid meanwhile comes back as paid credits.
local function reverse(keys, args)
  local account, op, original, reason, actor = args[1], args[2], args[3], args[4], args[5]
  local bad = op_check(account, op, 'reversal', reason, actor, '')
  if bad then return bad end
  if not is_key(original) or original == op then
    return fail('BADKEY', 'original must be another operation')
  end
  local content = table.concat({ 'reverse', account, original }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, known.p, known.b, known.d, 1) end
  local v = redis.call('HMGET', keys[4], 'c', 'p', 'b', 'd', 'rp', 'rb', 't', 'y', 'at', 'rev')
  local kind, owner = string.match(v[1] or '', '^(%l+) (%d+)')
  if v[7] == 'adjustment' and not kind then kind, owner = 'adjust', string.match(v[1], '^~(%d+)$') end
  if not kind or owner ~= account then
    return fail('NOORIGINAL', 'the original operation is not known any more')
  end
  if not reversible[kind] then return fail('NOTREFUNDABLE', 'it cannot be reversed') end
  if v[10] then return fail('NOTREFUNDABLE', 'it was reversed already') end
  if v[5] ~= '0' or v[6] ~= '0' then return fail('NOTREFUNDABLE', 'part of it was refunded') end
  local p, b, d = -tonumber(v[2]), -tonumber(v[3]), -tonumber(v[4])
  if w.debt + d < 0 then p, d = p - (w.debt + d), -w.debt end
  if w.paid + p < 0 or w.bonus + b < 0 then return fail('NOFUNDS', 'it was spent meanwhile') end
  if w.paid + w.bonus + w.held + p + b > MOST or w.debt + d > MOST then
    return fail('TOOMUCH', 'the wallet cannot hold that much')
  end
  local at = now_ms(args[6])
  w.paid, w.bonus, w.debt = w.paid + p, w.bonus + b, w.debt + d
  emit(keys[2], w, account, 'reversal', op, at, p, b, d,
    { 'y', v[8], 'c', actor, 'r', reason, 'x', original, 'xt', v[9], 'k', v[7], 'tp', '0', 'tb', '0' })
  wallet_write(w)
  redis.call('HSET', keys[4], 'rev', op)
  op_remember(keys[3], content, p, b, d, 'reversal', v[8], at)
  return wallet_reply(w, p, b, d, 0)
end

-- keys: wallet, out, the operation or session; arguments: account, its key, paid and bonus that it
-- took, how much of each came back, type, payee, when, the wallet's change number
-- An operation that is older than this memory, as the ledger has it: a refund finds it then. The
-- change number says that the ledger has everything that happened to the wallet.
local function remember(keys, args)
  local account, op, kind, payee = args[1], args[2], args[7], args[8]
  local bad = op_check(account, op, kind, '', '', '')
  if bad then return bad end
  local n = {}
  for i = 3, 6 do
    n[i] = integer(args[i], 0, MOST)
    if not n[i] then return fail('BADAMOUNT', 'a number is out of range') end
  end
  local at, seq = integer(args[9], 0, MOST), integer(args[10], 0, MOST)
  if not at or not seq or not integer(payee, 0, MOST) then return fail('BADTIME', 'a number is out of range') end
  if n[5] > n[3] or n[6] > n[4] then return fail('BADAMOUNT', 'more came back than was taken') end
  local w = wallet_read(keys[1])
  if redis.call('EXISTS', keys[3]) == 1 then return wallet_reply(w, 0, 0, 0, 1) end
  if w.seq ~= seq then return fail('STALE', 'the wallet has changed meanwhile') end
  local content = table.concat({ 'debit', account, text_of(n[3] + n[4]), payee, kind }, ' ')
  op_remember(keys[3], content, -n[3], -n[4], 0, kind, payee, at)
  redis.call('HSET', keys[3], 'rp', text_of(n[5]), 'rb', text_of(n[6]))
  return wallet_reply(w, 0, 0, 0, 0)
end

-- keys: wallet, out, op; arguments: account, op, type, payee, paid, bonus and debt that it moved (with
-- signs), how much of paid and bonus came back, when, original, what reversed it
-- After all was lost: an operation that was booked lately, so that a caller who asks again gets the
-- answer of then and not a second credit. What is remembered stays.
local function recall(keys, args)
  local account, op, kind, payee, original = args[1], args[2], args[3], args[4], args[11]
  local bad = op_check(account, op, kind, '', '', '')
  if bad then return bad end
  local n = {}
  for i = 5, 10 do
    local text = args[i]
    local less = string.sub(text, 1, 1) == '-'
    n[i] = integer(less and string.sub(text, 2) or text, 0, MOST)
    if not n[i] then return fail('BADAMOUNT', 'a number is out of range') end
    if less then n[i] = -n[i] end
  end
  local p, b, d, w = n[5], n[6], n[7], wallet_read(keys[1])
  if redis.call('EXISTS', keys[3]) == 1 then return wallet_reply(w, 0, 0, 0, 1) end
  local content
  if kind == 'adjustment' or kind == 'refund' or kind == 'grant' or kind == 'limit' then
    content = '~' .. account
  elseif kind == 'freeze' or kind == 'unfreeze' then
    content = table.concat({ 'freeze', account, kind == 'freeze' and '1' or '0' }, ' ')
  elseif kind == 'chargeback' then
    content = table.concat({ 'chargeback', account, text_of(d - p - b) }, ' ')
  elseif kind == 'reversal' then
    content = table.concat({ 'reverse', account, original }, ' ')
  elseif p - d + b > 0 then
    content = table.concat({ 'credit', account, text_of(p - d + b), b ~= 0 and 'bonus' or 'paid', kind }, ' ')
  else
    content = table.concat({ 'debit', account, text_of(-p - b), payee, kind }, ' ')
    if original ~= '' then content = content .. ' ' .. original end
  end
  op_remember(keys[3], content, p, b, d, kind, payee, n[10])
  redis.call('HSET', keys[3], 'rp', text_of(n[8]), 'rb', text_of(n[9]))
  if args[12] ~= '' then redis.call('HSET', keys[3], 'rev', args[12]) end
  return wallet_reply(w, 0, 0, 0, 0)
end
