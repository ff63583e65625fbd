--- Refunds however old the sale is: what Redis has forgotten is told to it again, as the ledger has it.
local billing = require "runtime.billing"
local db = require "runtime.db"
local ledger = require "store.ledger"
local task = require "runtime.task"

local refunds = {}

local TRIES = 20

-- What a sale or a session took in all, and when; nil if the ledger does not know it.
local sale_sql = [[
  SELECT CAST(-SUM(JSON_VALUE(detail, '$.paid')) AS SIGNED) AS paid,
         CAST(-SUM(JSON_VALUE(detail, '$.bonus')) AS SIGNED) AS bonus,
         CAST(COALESCE(MAX(JSON_VALUE(detail, '$.payee')), 0) AS SIGNED) AS payee,
         CAST(COALESCE(MIN(JSON_VALUE(detail, '$.ref_at')), ROUND(UNIX_TIMESTAMP(MIN(occurred_at)) * 1000))
              AS SIGNED) AS at,
         MAX(type) AS type, COUNT(*) AS count, CAST(SUM(type = 'meter_close') AS SIGNED) AS closed,
         CAST(SUM(ref_type <=> 'session') AS SIGNED) AS metered
  FROM ledger_txns
  WHERE account_id = ? AND (idem_key = ? OR (ref_type = 'session' AND ref_id = ?))
    AND type IN ('tip', 'meter', 'meter_close', 'message', 'gift', 'private')]]

local back_sql = [[
  SELECT CAST(COALESCE(SUM(JSON_VALUE(detail, '$.paid')), 0) AS SIGNED) AS paid,
         CAST(COALESCE(SUM(JSON_VALUE(detail, '$.bonus')), 0) AS SIGNED) AS bonus
  FROM ledger_txns
  WHERE account_id = ? AND ref_type = 'operation' AND ref_id = ? AND type IN ('refund', 'reversal')]]

-- Tells Redis. True when it knows the operation now, nil and the reason when it cannot.
local function remember(account, original)
  for _ = 1, TRIES do
    local seq = billing.wallet(account).seq
    if ledger.wallet(account).seq >= seq then
      local sale = db.one(sale_sql, account, original, original)
      if not sale or sale.count == 0 or (sale.metered > 0 and sale.closed == 0) then return nil, "no_original" end
      local back = db.one(back_sql, account, original)
      local _, reason = billing.remember {
        op = original, account = account, type = sale.metered > 0 and "meter" or sale.type, payee = sale.payee,
        paid = sale.paid, bonus = sale.bonus, refunded_paid = back.paid, refunded_bonus = back.bonus,
        at = sale.at, seq = seq,
      }
      if reason ~= "stale" then return reason == nil or nil, reason end
    end
    task.sleep(0.25) -- the ledger catches up
  end
  return nil, "stale"
end

--- As billing.refund, with the ledger's memory: nil, "no_original" only when it was never booked.
function refunds.refund(values)
  local wallet, reason = billing.refund(values)
  if reason ~= "no_original" then return wallet, reason end
  local known
  known, reason = remember(values.account, values.original)
  if not known then return nil, reason end
  return billing.refund(values)
end

return refunds
