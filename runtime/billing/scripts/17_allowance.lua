-- What a viewer may watch without credits, and how long a day. Grants of free seconds are kept in the
-- wallet as "<op>/<seconds left>/<until ms, 0: for ever>/<model, 0: any>", separated by spaces; a meter
-- takes from them as it reserves and gives back at its close what it did not use.

local MOST_GRANTS = 16

local function grants_read(text)
  local list = {}
  for op, left, ends, payee in string.gmatch(text, '([^ /]+)/(%d+)/(%d+)/(%d+)') do
    list[#list + 1] = { op = op, left = tonumber(left), ends = tonumber(ends), payee = payee }
  end
  return list
end

local function grants_text(list)
  local parts = {}
  for i, g in ipairs(list) do
    parts[i] = table.concat({ g.op, text_of(g.left), text_of(g.ends), g.payee }, '/')
  end
  return table.concat(parts, ' ')
end

-- Those that end first are used first.
local function grants_put(list, grant)
  local at = #list + 1
  for i, g in ipairs(list) do
    if grant.ends ~= 0 and (g.ends == 0 or g.ends > grant.ends) then
      at = i
      break
    end
  end
  table.insert(list, at, grant)
end

-- Takes up to `seconds` for a session with `payee`. Returns how many, and what was taken from which.
local function grants_take(w, payee, seconds, now)
  if w.grants == '' or seconds <= 0 then return 0, {} end
  local left, taken, sum = {}, {}, 0
  for _, g in ipairs(grants_read(w.grants)) do
    if g.ends == 0 or g.ends > now then
      local some = (g.payee == '0' or g.payee == payee) and math.min(g.left, seconds - sum) or 0
      if some > 0 then
        taken[#taken + 1] = { op = g.op, left = some, ends = g.ends, payee = g.payee }
        sum, g.left = sum + some, g.left - some
      end
      if g.left > 0 then left[#left + 1] = g end
    end
  end
  w.grants = grants_text(left)
  return sum, taken
end

local function grants_add(list, more)
  for _, g in ipairs(more) do
    local found
    for _, known in ipairs(list) do
      if known.op == g.op then found = known end
    end
    if found then found.left = found.left + g.left else grants_put(list, g) end
  end
  return list
end

-- keys: wallet, out, op; arguments: account, op, seconds, until (ms, 0), payee, reason, actor, now
local function grant(keys, args)
  local account, op, payee, reason, actor = args[1], args[2], args[5], args[6], args[7]
  local bad = op_check(account, op, 'grant', reason, actor, '')
  if bad then return bad end
  local seconds, ends = integer(args[3], 1, 30 * MOST_SESSION), integer(args[4], 0, MOST)
  if not seconds then return fail('BADAMOUNT', 'a grant is 1 second to 30 days') end
  if not ends then return fail('BADTIME', 'until must be milliseconds') end
  if not integer(payee, 0, MOST) then return fail('BADPAYEE', 'payee must be a number') end
  local content = table.concat({ 'grant', account, args[3], args[4], payee }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w, at = wallet_read(keys[1]), now_ms(args[8])
  if known then return wallet_reply(w, 0, 0, 0, 1) end
  if ends ~= 0 and ends <= at then return fail('BADTIME', 'the grant has ended already') end
  local list = {}
  for _, g in ipairs(grants_read(w.grants)) do
    if g.ends == 0 or g.ends > at then list[#list + 1] = g end
  end
  if #list >= MOST_GRANTS then return fail('TOOMUCH', 'there are too many grants') end
  grants_put(list, { op = op, left = seconds, ends = ends, payee = payee })
  w.grants = grants_text(list)
  emit(keys[2], w, account, 'grant', op, at, 0, 0, 0, { 'c', actor, 'r', reason,
    'j', '{"seconds":' .. args[3] .. ',"until":' .. args[4] .. ',"model":' .. payee .. '}' })
  wallet_write(w)
  op_remember(keys[3], content, 0, 0, 0, 'grant', payee, at)
  return wallet_reply(w, 0, 0, 0, 0)
end

-- keys: wallet, out, op; arguments: account, op, "site" or "own", seconds a day (0: no limit), reason,
-- actor, now. The smaller of the two counts. A limit that is lowered counts at once.
local function limit(keys, args)
  local account, op, whose, reason, actor = args[1], args[2], args[3], args[5], args[6]
  local bad = op_check(account, op, 'limit', reason, actor, '')
  if bad then return bad end
  if whose ~= 'site' and whose ~= 'own' then return fail('BADTYPE', 'a limit is site or own') end
  local seconds = integer(args[4], 0, MOST_SESSION)
  if not seconds then return fail('BADTIME', 'a daily limit is 0 to 86400 seconds') end
  local content = table.concat({ 'limit', account, whose, args[4] }, ' ')
  local contradiction, known = op_recall(keys[3], content)
  if contradiction then return contradiction end
  local w = wallet_read(keys[1])
  if known then return wallet_reply(w, 0, 0, 0, 1) end
  local at = now_ms(args[7])
  emit(keys[2], w, account, 'limit', op, at, 0, 0, 0, { 'c', actor, 'r', reason,
    'j', '{"whose":"' .. whose .. '","seconds":' .. args[4] .. '}' })
  wallet_write(w)
  redis.call('HSET', w.key, whose == 'site' and 'dsite' or 'down', text_of(seconds * 1000))
  op_remember(keys[3], content, 0, 0, 0, 'limit', '0', at)
  return wallet_reply(w, 0, 0, 0, 0)
end

-- A new day begins with nothing watched. A clock that is put back does not bring the old one back.
local function day_begin(w, now)
  local today = divide(now, DAY_MS)
  if today > w.day then w.day, w.dused = today, 0 end
end

local function day_limit(w)
  if w.dsite == 0 or w.down == 0 then return w.dsite + w.down end
  return math.min(w.dsite, w.down)
end

-- keys: wallet; arguments: now. The wallet, then: the site's limit and the viewer's own, what was
-- watched today, what open sessions may still watch (all ms), and the seconds granted.
local function allowance(keys, args)
  local w, now, free = wallet_read(keys[1]), now_ms(args[1]), 0
  day_begin(w, now)
  for _, g in ipairs(grants_read(w.grants)) do
    if g.ends == 0 or g.ends > now then free = free + g.left end
  end
  return wallet_reply(w, 0, 0, 0, 0, w.dsite, w.down, w.dused, w.dheld, free)
end
