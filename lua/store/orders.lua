--- Orders of credits and what payment providers said about them. Which event leads to which state is
-- site/orders.lua's; which state may follow which is here.
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local promos = require "store.promos"

local orders = {}

local columns = [[
  SELECT o.id, o.public_id, o.account_id, o.pack_id, p.name AS pack_name, o.credits, o.promo_credits,
    o.price_minor, o.currency, o.state, o.state_reason, o.version, o.provider, o.provider_ref,
    o.payment_ref,
    o.promo_id, a.name AS account_name, o.idem_key, o.created_at, o.updated_at, o.paid_at, o.credited_at
  FROM orders o JOIN packs p ON p.id = o.pack_id JOIN accounts a ON a.id = o.account_id ]]

local moves = {
  created = { redirected = true, pending = true, paid = true, failed = true, expired = true, cancelled = true, review = true },
  redirected = { pending = true, paid = true, failed = true, expired = true, cancelled = true, review = true },
  pending = { paid = true, failed = true, expired = true, cancelled = true, review = true },
  expired = { review = true },
  failed = { review = true },
  cancelled = { review = true },
  review = { paid = true, cancelled = true, refund_pending = true },
  paid = { credited = true },
  credited = { refund_pending = true, disputed = true },
  refund_pending = { refunded = true, credited = true },
  disputed = { credited = true, charged_back = true },
  refunded = {},
  charged_back = {},
}

--- create { account_id, pack, provider, idem_key, ip =, country =, code = } → the order. A key that was
-- here before gives the order that it made then, whatever pack is named now: compare pack_id. With a
-- promo code that cannot be used: nil and the reason of store.promos.
function orders.create(values)
  local pack = values.pack
  return db.transaction(function(tx)
    local mine = columns .. "WHERE o.account_id = ? AND o.idem_key = ?"
    local order = tx.one(mine, values.account_id, values.idem_key)
    if order then return order end
    local promo, extra
    if values.code then
      promo, extra = promos.reserve(values.code, values.account_id, pack, tx)
      if not promo then return nil, extra end
    end
    local affected, id = tx.exec([[
      INSERT INTO orders (public_id, account_id, pack_id, credits, promo_credits, price_minor, currency,
        provider, idem_key, ip, country, promo_id)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON DUPLICATE KEY UPDATE id = id]], crypto.random_token(16), values.account_id, pack.id, pack.credits,
      pack.promo_credits + (extra or 0), pack.price_minor, pack.currency, values.provider, values.idem_key,
      (values.ip or ""):sub(1, 45), values.country, promo and promo.id)
    if promo and affected == 1 then promos.add_use(promo.id, values.account_id, id, extra, tx) end
    return tx.one(mine, values.account_id, values.idem_key)
  end, { retries = 3 })
end

--- The order with that public id; `lock` keeps others off until the transaction ends.
function orders.by_public_id(public_id, tx, lock)
  if type(public_id) ~= "string" then return nil end
  return (tx or db).one(columns .. "WHERE o.public_id = ?" .. (lock and " FOR UPDATE" or ""), public_id)
end

--- The newest first.
function orders.of_account(account_id, count)
  return db.rows(columns .. "WHERE o.account_id = ? ORDER BY o.created_at DESC, o.id DESC LIMIT ?",
    account_id, count)
end

--- move(id, from, to [, reason [, tx]]) → true; false if the order was not in `from` any more. Raises
-- for a move that cannot be.
function orders.move(id, from, to, reason, tx)
  if not (moves[from] and moves[from][to]) then
    error(("an order cannot go from %s to %s"):format(from, to), 2)
  end
  return (tx or db).exec([[
    UPDATE orders SET state = ?, state_reason = ?, version = version + 1, updated_at = UTC_TIMESTAMP(6),
      paid_at = IF(? IN ('paid', 'refund_pending'), COALESCE(paid_at, UTC_TIMESTAMP(6)), paid_at),
      credited_at = IF(? IN ('credited', 'refund_pending'), COALESCE(credited_at, UTC_TIMESTAMP(6)), credited_at)
    WHERE id = ? AND state = ?]], to, reason, to, to, id, from) == 1
end

--- What the provider calls it, once it has told.
function orders.set_provider_ref(id, ref, tx)
  (tx or db).exec("UPDATE orders SET provider_ref = ?, updated_at = UTC_TIMESTAMP(6) WHERE id = ?", ref, id)
end

--- The payment behind the order, once it is known.
function orders.set_payment_ref(id, ref, tx)
  (tx or db).exec("UPDATE orders SET payment_ref = ? WHERE id = ? AND payment_ref IS NULL", ref, id)
end

--- The order that a provider's payment belongs to, or nil.
function orders.by_payment_ref(provider, ref, tx, lock)
  return (tx or db).one(columns .. "WHERE o.provider = ? AND o.payment_ref = ? ORDER BY o.id LIMIT 1"
    .. (lock and " FOR UPDATE" or ""), provider, ref)
end

--- { query =, state =, limit, offset } → rows and how many there are, the newest first. The query is an
-- order's id, a provider's reference or the start of an account's name.
function orders.search(wanted)
  local where = [[
    WHERE (? IS NULL OR o.state = ?)
      AND (? = '' OR o.public_id = ? OR o.provider_ref = ? OR o.payment_ref = ? OR a.name LIKE ?)]]
  local query = wanted.query or ""
  local like = query:gsub("[%%_\\]", "\\%0") .. "%"
  local rows = db.rows(columns .. where .. " ORDER BY o.id DESC LIMIT ? OFFSET ?", wanted.state,
    wanted.state, query, query, query, query, like, wanted.limit, wanted.offset)
  local total = db.one("SELECT COUNT(*) AS n FROM orders o JOIN accounts a ON a.id = o.account_id " .. where,
    wanted.state, wanted.state, query, query, query, query, like).n
  return rows, total
end

--- state → how many orders.
function orders.count_by_state()
  local counts = {}
  for _, row in ipairs(db.rows "SELECT state, COUNT(*) AS n FROM orders GROUP BY state") do
    counts[row.state] = row.n
  end
  return counts
end

--- Paid orders whose credits have not arrived for `seconds`: something died between the two.
function orders.left_paid(seconds, count)
  return db.rows(columns .. [[
    WHERE o.state = 'paid' AND o.updated_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND
    ORDER BY o.updated_at LIMIT ?]], seconds, count)
end

--- Gives up orders that nobody paid within `hours`. Returns how many.
function orders.expire(hours)
  return (db.exec([[
    UPDATE orders SET state = 'expired', version = version + 1, updated_at = UTC_TIMESTAMP(6)
    WHERE state IN ('created', 'redirected') AND updated_at < UTC_TIMESTAMP(6) - INTERVAL ? HOUR
    LIMIT 1000]], hours))
end

return orders
