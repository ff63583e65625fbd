--- Promo codes: extra credits with a pack, as long as the code's budget lasts. A use counts while its
-- order may still be paid; an order that fails, expires or is cancelled gives it back.
local db = require "runtime.db"

local promos = {}

local uses = [[
  SELECT u.promo_id, COUNT(*) AS uses, CAST(SUM(u.amount) AS SIGNED) AS used
  FROM promo_uses u JOIN orders o ON o.id = u.order_id
  WHERE o.state NOT IN ('failed', 'expired', 'cancelled') GROUP BY u.promo_id]]

local used_sql = [[
  SELECT CAST(COALESCE(SUM(u.amount), 0) AS SIGNED) AS used
  FROM promo_uses u JOIN orders o ON o.id = u.order_id
  WHERE u.promo_id = ? AND o.state NOT IN ('failed', 'expired', 'cancelled')]]

local columns = [[
  SELECT p.id, p.code, p.bonus_credits, p.bonus_bp, p.budget, p.per_account, p.ends_at, p.stopped_at,
    p.ends_at > UTC_TIMESTAMP(6) AND p.stopped_at IS NULL AS running, a.name AS created_by_name,
    p.created_at
  FROM promos p JOIN accounts a ON a.id = p.created_by ]]

--- A new code; raises an error with `duplicate` when it is taken. `days`: how long it runs.
function promos.create(values, tx)
  local _, id = (tx or db).exec([[
    INSERT INTO promos (code, bonus_credits, bonus_bp, budget, per_account, ends_at, created_by)
    VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? DAY, ?)]], values.code, values.bonus_credits,
    values.bonus_bp, values.budget, values.per_account, values.days, values.created_by)
  return id
end

function promos.stop(id, tx)
  return (tx or db).exec(
    "UPDATE promos SET stopped_at = UTC_TIMESTAMP(6) WHERE id = ? AND stopped_at IS NULL", id) == 1
end

--- The newest first, with `uses` and `used`.
function promos.all(count)
  local rows = db.rows(columns .. "ORDER BY p.id DESC LIMIT ?", count)
  local by_id = {}
  for _, row in ipairs(db.rows(uses)) do by_id[row.promo_id] = row end
  for _, row in ipairs(rows) do
    local its = by_id[row.id] or { uses = 0, used = 0 }
    row.uses, row.used = its.uses, its.used
  end
  return rows
end

--- What a code gives for a pack, in micro-credits.
function promos.bonus(promo, pack)
  return promo.bonus_credits + pack.credits * promo.bonus_bp // 10000
end

-- The row if the account may use the code, or nil and why not. `lock`: its users queue here, so that
-- budget and count cannot be passed by two at once.
local function usable(code, account_id, tx, lock)
  if not code:find("^[A-Z0-9-]+$") then return nil, "unknown" end
  local promo = tx.one(columns .. "WHERE p.code = ?" .. (lock and " FOR UPDATE" or ""), code)
  if not promo then return nil, "unknown" end
  if promo.running ~= 1 then return nil, "over" end
  local own = tx.one([[
    SELECT COUNT(*) AS n FROM promo_uses u JOIN orders o ON o.id = u.order_id
    WHERE u.promo_id = ? AND u.account_id = ? AND o.state NOT IN ('failed', 'expired', 'cancelled')]],
    promo.id, account_id)
  if own.n >= promo.per_account then return nil, "used" end
  promo.used = tx.one(used_sql, promo.id).used
  if promo.used >= promo.budget then return nil, "spent" end
  return promo
end

--- Whether an account may use a code now: the row, or nil and "unknown", "over", "used" or "spent".
function promos.look(code, account_id) return usable(code, account_id, db, false) end

--- Takes a code for an account and a pack, in the transaction that then makes the order. Returns the
-- code's row and the amount; or nil and a reason as `look`.
function promos.reserve(code, account_id, pack, tx)
  local promo, reason = usable(code, account_id, tx, true)
  if not promo then return nil, reason end
  local amount = promos.bonus(promo, pack)
  if promo.used + amount > promo.budget then return nil, "spent" end
  return promo, amount
end

function promos.add_use(promo_id, account_id, order_id, amount, tx)
  tx.exec("INSERT INTO promo_uses (promo_id, account_id, order_id, amount) VALUES (?, ?, ?, ?)",
    promo_id, account_id, order_id, amount)
end

return promos
