--- What Redis must be told again after it lost wallets: the keys of what was booked lately, so that nobody
-- who asks again is given or charged twice, and the limits that viewers live with.
local billing = require "runtime.billing"
local db = require "runtime.db"
local json = require "runtime.json"
local ledger = require "store.ledger"

local recovery = {}

local DAYS = 7 -- as long as billing remembers its keys
local PAGE = 500

local back = [[
  FROM ledger_txns b WHERE b.ref_type = 'operation' AND b.ref_id = t.idem_key AND b.type = 'refund'
    AND b.account_id = t.account_id]]

local recent_sql = [[
  SELECT t.id, t.idem_key AS op, t.type, IF(t.type = 'reversal', t.ref_id, NULL) AS original,
         CAST(JSON_VALUE(t.detail, '$.paid') AS SIGNED) AS paid,
         CAST(JSON_VALUE(t.detail, '$.bonus') AS SIGNED) AS bonus,
         CAST(JSON_VALUE(t.detail, '$.debt') AS SIGNED) AS debt,
         CAST(COALESCE(JSON_VALUE(t.detail, '$.payee'), 0) AS SIGNED) AS payee,
         CAST(ROUND(UNIX_TIMESTAMP(t.occurred_at) * 1000) AS SIGNED) AS at,
         (SELECT r.idem_key FROM ledger_txns r WHERE r.reverses_id = t.id) AS reversed_by,
         (SELECT CAST(COALESCE(SUM(JSON_VALUE(b.detail, '$.paid')), 0) AS SIGNED) ]] .. back .. [[) AS refunded_paid,
         (SELECT CAST(COALESCE(SUM(JSON_VALUE(b.detail, '$.bonus')), 0) AS SIGNED) ]] .. back .. [[) AS refunded_bonus
  FROM ledger_txns t
  WHERE t.account_id = ? AND t.id > ? AND t.type NOT IN ('meter', 'meter_close')
    AND t.occurred_at > UTC_TIMESTAMP(6) - INTERVAL ? DAY
  ORDER BY t.id LIMIT ?]]

-- Before the wallet itself: a rebuild that is broken off begins again with this wallet.
local function recall(account)
  local last, count = 0, 0
  repeat
    local page = db.rows(recent_sql, account, last, DAYS, PAGE)
    for _, row in ipairs(page) do
      last = row.id
      row.id, row.account = nil, account
      if not billing.recall(row).repeated then count = count + 1 end
    end
  until #page < PAGE
  return count
end

local limits_sql = [[
  SELECT detail FROM ledger_txns WHERE account_id = ? AND type = 'limit' ORDER BY wseq]]

-- As changes of their own, after the wallet: the last word of the site and of the viewer.
local function limits(account, epoch)
  local last = {}
  for _, row in ipairs(db.rows(limits_sql, account)) do
    local extra = json.decode(row.detail).extra
    if type(extra) == "table" and extra.whose then last[extra.whose] = extra.seconds end
  end
  for whose, seconds in pairs(last) do
    if seconds > 0 then
      billing.limit { op = ("rebuild:%d:%s:%d"):format(epoch, whose, account), account = account, whose = whose,
        seconds = seconds, reason = "told again after a loss", actor = "command" }
    end
  end
end

--- Sets every wallet that is behind the ledger to what the ledger says. Returns how many were, and how many
-- keys were told again.
function recovery.rebuild()
  local cursors, epochs, rebuilt, told, last = ledger.cursors(), {}, 0, 0, 0
  repeat
    local page = ledger.accounts(last, PAGE)
    for _, row in ipairs(page) do
      last = row.id
      local booked, shard = ledger.wallet(row.id), billing.shard(row.id)
      if billing.wallet(row.id).seq < booked.seq then
        epochs[shard] = epochs[shard] or cursors[shard].epoch + 1
        told = told + recall(row.id)
        local wallet = billing.restore {
          account = row.id, paid = booked.paid, bonus = booked.bonus, debt = booked.debt, seq = booked.seq,
          frozen = ledger.frozen(row.id), epoch = epochs[shard],
        }
        if not wallet.repeated then
          rebuilt = rebuilt + 1
          ledger.restart(shard, epochs[shard])
          limits(row.id, epochs[shard])
        end
      end
    end
  until #page < PAGE
  return rebuilt, told
end

return recovery
