-- What an entry of billing's outbox means in double entry (docs/billing.md). No SQL here: the entry in,
-- the legs out, each { owner type, owner id, kind, amount }, which sum to zero.
--
-- An entry's paid, bonus and debt are what the viewer's wallet gained. What the viewer has is owed by
-- the house, so the viewer's own legs carry the same signs, a debt the opposite one; the other side
-- says where it came from or went.

local legs = {}

-- Where a credit comes from.
local sources = {
  purchase = "provider_clearing", promotion = "promo_expense", adjustment = "adjustments",
  chargeback = "provider_clearing",
}
-- What a viewer pays a model for.
local sales = { tip = true, meter = true, meter_close = true, message = true, gift = true, private = true }
-- Changes of a wallet that move no credits.
local silent = { freeze = true, unfreeze = true, grant = true, limit = true }

-- The model's part in whole micro-credits; what the division leaves is the house's.
local function share(amount, basis_points)
  return amount * basis_points // 10000
end

local function gives_back(entry)
  return entry.type == "refund" or entry.type == "reversal"
end

-- What the model gains by an entry: her share of what the sale took so far (refunds off), less her share
-- of what it had taken before. Sums of such differences are the share of the total: rounding by the
-- second, by the tick or by the refund cannot drift. Entries without totals are sales of their own.
local function gain(entry, bucket, basis_points)
  local total, moved = entry["total_" .. bucket], entry[bucket]
  if not total then
    local sign = gives_back(entry) and -1 or 1
    return sign * share(math.abs(moved), basis_points)
  end
  return share(total, basis_points) - share(total + moved, basis_points)
end

--- The legs of an entry, or nil and why it cannot be booked. `split` has paid_bp and promo_bp, the
-- model's shares that were in force when the sale was made.
function legs.of(entry, split)
  local list, sum = {}, 0
  local function add(owner_type, owner_id, kind, amount)
    if amount == 0 then return end
    list[#list + 1] = { owner_type = owner_type, owner_id = owner_id, kind = kind, amount = amount }
    sum = sum + amount
  end
  add("account", entry.account, "viewer_paid", entry.paid)
  add("account", entry.account, "viewer_promo", entry.bonus)
  add("account", entry.account, "viewer_debt", -entry.debt)
  if silent[entry.type] then
    if sum ~= 0 then return nil, "moves credits" end
  elseif sales[entry.type] or entry.type == "refund" or (entry.type == "reversal" and sales[entry.of_type]) then
    if (gives_back(entry)) ~= (sum > 0) and sum ~= 0 then return nil, "has the wrong sign" end
    local payee = entry.payee or 0
    local model = payee == 0 and 0
      or gain(entry, "paid", split.paid_bp) + gain(entry, "bonus", split.promo_bp)
    local rest = -sum - model
    add("model", payee, "model_pending", model)
    add("site", 0, "site_revenue", rest)
  elseif sources[entry.type] then
    add("site", 0, sources[entry.type], -sum)
  elseif entry.type == "reversal" and sources[entry.of_type] then
    add("site", 0, sources[entry.of_type], -sum)
  else
    return nil, "is of an unknown type"
  end
  assert(sum == 0, "the legs do not sum to zero")
  return list
end

--- The moment, in milliseconds, whose split counts: that of the sale, also for its refund.
function legs.split_at(entry)
  return entry.ref_at or entry.at
end

return legs
