--- From earnings to the bank:
--
--   pending → (hold period, reserve) payable → batched → approved (a second person) → sent → settled
--                                      ↑__________________________________________________| returned
--
-- `on_hold` from any before `sent`. Each step is one transaction of the database with its ledger
-- transaction in it. Credits become money when a payout is sent, at the batch's rate.
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local files = require "site.payouts.files"
local iban = require "site.payouts.iban"
local ledger_post = require "store.ledger_post"
local store = require "store.payouts"

local flow = {}

local MICRO = 1000000

local function leg(owner_type, owner_id, kind, amount, currency)
  return { owner_type = owner_type, owner_id = owner_id, kind = kind, amount = amount, currency = currency }
end

local function within(tx, fn)
  if tx then return fn(tx) end
  return db.transaction(fn, { retries = 5 })
end

--- Pending earnings that have rested become payable. Returns how much.
function flow.release(model_id)
  return within(nil, function(tx)
    -- Locked first, so that nobody counts the same credits twice.
    ledger_post.model_balance(model_id, "model_pending", tx, true)
    local figures = store.figures(model_id, nil, tx)
    if figures.releasable == 0 then return 0 end
    ledger_post.book({ key = ("release:%d:%d"):format(model_id, figures.version), type = "release",
      ref_type = "model", ref_id = tostring(model_id), legs = {
        leg("model", model_id, "model_pending", -figures.releasable),
        leg("model", model_id, "model_payable", figures.releasable),
      } }, tx)
    return figures.releasable
  end)
end

--- Micro-credits → whole minor units of money, and the micro-credits that those cost; the rest stays.
function flow.convert(amount, minor_per_credit)
  local minor = amount * minor_per_credit // MICRO
  return minor, (minor * MICRO + minor_per_credit - 1) // minor_per_credit
end

--- Puts everybody who can be paid into a batch. Its id, or nil and "nobody".
function flow.create(actor)
  return within(nil, function(tx)
    local terms = store.terms(tx)
    local models = store.eligible(terms, tx)
    if #models == 0 then return nil, "nobody" end
    local batch = store.add_batch({ currency = terms.currency, minor_per_credit = terms.minor_per_credit,
      created_by = actor }, tx)
    for _, model in ipairs(models) do
      local minor, amount = flow.convert(model.payable, terms.minor_per_credit)
      local id = store.add({ batch_id = batch, model_id = model.model_id, method_id = model.method_id,
        amount = amount, money_minor = minor, currency = terms.currency,
        reference = ("FL%d-%d-%s"):format(batch, model.model_id, crypto.hex(crypto.random_bytes(4))) }, tx)
      ledger_post.book({ key = ("payout:%d:hold"):format(id), type = "payout_hold", ref_type = "payout",
        ref_id = tostring(id), actor = "account:" .. actor, legs = {
          leg("model", model.model_id, "model_payable", -amount), leg("model", model.model_id, "hold", amount),
        } }, tx)
    end
    return batch
  end)
end

local function back_to_payable(payout, actor, tx)
  ledger_post.book({ key = ("payout:%d:back"):format(payout.id), type = "payout_back", ref_type = "payout",
    ref_id = tostring(payout.id), actor = "account:" .. actor,
    reverses = ledger_post.find(("payout:%d:hold"):format(payout.id), tx), legs = {
      leg("model", payout.model_id, "hold", -payout.amount),
      leg("model", payout.model_id, "model_payable", payout.amount),
    } }, tx)
end

--- A second person approves. nil and "state", "same_person" or "own" (somebody is in the batch themselves).
function flow.approve(id, actor)
  return within(nil, function(tx)
    local batch = store.batch(id, tx, true)
    if not batch or batch.state ~= "created" then return nil, "state" end
    if batch.created_by == actor then return nil, "same_person" end
    local rows = store.of_batch(id, tx)
    for _, payout in ipairs(rows) do
      if payout.account_id == actor or payout.account_id == batch.created_by then return nil, "own" end
    end
    for _, payout in ipairs(rows) do
      if payout.state == "batched" then store.move(payout.id, "batched", "approved", nil, tx) end
    end
    store.move_batch(id, "created", "approved", { approved_by = actor }, tx)
    return true
  end)
end

--- Who pays, from the settings: { name, iban, bic }; nil when that is not set or is no account.
function flow.payer()
  local name, number = config.get("payouts.name", ""), iban.parse(config.get("payouts.iban", ""))
  if name == "" or not number then return nil end
  return { name = name, iban = number, bic = iban.parse_bic(config.get("payouts.bic", "")) }
end

--- What goes to the bank of a batch that is approved or sent.
function flow.lines(id, tx)
  local lines = {}
  for _, payout in ipairs(store.of_batch(id, tx)) do
    if payout.state ~= "batched" and payout.state ~= "on_hold" and payout.state ~= "cancelled" then
      local details = store.details(payout.method_id, tx)
      lines[#lines + 1] = { reference = payout.reference, holder = details.holder, iban = details.iban,
        bic = details.bic, minor = payout.money_minor, currency = payout.currency }
    end
  end
  return lines
end

--- The file of a batch as it was, or will be, sent at `at` ("2026-11-24 10:00:00"): pain.001 for euros, which
-- SEPA moves; for other currencies the CSV, which the bank's own pages take.
function flow.bank_file(batch, at, tx)
  if batch.currency ~= "EUR" then return files.batch_csv(flow.lines(batch.id, tx)) end
  return files.pain001 { id = ("FOOTLIGHT-%d"):format(batch.id), at = at:sub(1, 19):gsub(" ", "T"),
    day = at:sub(1, 10), payer = flow.payer(), lines = flow.lines(batch.id, tx) }
end

local function state_payout(payout, batch, tx)
  store.add_statement(payout.model_id, "payout", payout.reference, {
    kind = "payout", model = payout.model_id, name = payout.stage_name, reference = payout.reference,
    batch = batch.id, amount_micro_credits = payout.amount, minor_per_credit = batch.minor_per_credit,
    money_minor = payout.money_minor, currency = payout.currency, account = payout.hint,
  }, tx)
end

--- Sends an approved batch: written down, with its file's hash, before anybody gets the file. nil and "state",
-- "payer" (the settings lack it) or "empty".
function flow.send(id, actor)
  if not flow.payer() then return nil, "payer" end
  return within(nil, function(tx)
    local batch = store.batch(id, tx, true)
    if not batch or batch.state ~= "approved" then return nil, "state" end
    local at, count = store.now(tx), 0
    for _, payout in ipairs(store.of_batch(id, tx)) do
      if payout.state == "approved" then
        store.move(payout.id, "approved", "sent", nil, tx)
        ledger_post.book({ key = ("payout:%d:sent"):format(payout.id), type = "payout", ref_type = "payout",
          ref_id = tostring(payout.id), actor = "account:" .. actor,
          detail = { rate = batch.minor_per_credit }, legs = {
            leg("model", payout.model_id, "hold", -payout.amount),
            leg("site", 0, "conversion", payout.amount),
            leg("site", 0, "conversion", -payout.money_minor, payout.currency),
            leg("model", payout.model_id, "model_payable", payout.money_minor, payout.currency),
          } }, tx)
        state_payout(payout, batch, tx)
        count = count + 1
      end
    end
    if count == 0 then return nil, "empty" end
    store.move_batch(id, "approved", "sent", { sent_at = at,
      file_sha256 = crypto.hex(crypto.sha256(flow.bank_file(batch, at, tx))) }, tx)
    return true
  end)
end

--- Cancels a batch that was not sent: all of it is payable again.
function flow.cancel(id, actor)
  return within(nil, function(tx)
    local batch = store.batch(id, tx, true)
    if not batch or (batch.state ~= "created" and batch.state ~= "approved") then return nil, "state" end
    for _, payout in ipairs(store.of_batch(id, tx)) do
      if payout.state ~= "cancelled" then
        store.move(payout.id, payout.state, "cancelled", "the batch was cancelled", tx)
        back_to_payable(payout, actor, tx)
      end
    end
    return store.move_batch(id, batch.state, "cancelled", nil, tx)
  end)
end

-- What may be done with one payout: from which states, to which, and what it moves.
local actions = {
  hold = { from = { batched = true, approved = true }, to = "on_hold" },
  let_go = { from = { on_hold = true }, to = "cancelled", back = true },
  settle = { from = { sent = true }, to = "settled" },
  ["return"] = { from = { sent = true }, to = "returned" },
}
flow.actions = actions

--- One payout: "hold", "let_go" (payable again), "settle" or "return" (the bank sent it back). nil and "state".
function flow.act(id, action, reason, actor)
  local what = actions[action]
  return within(nil, function(tx)
    local payout = store.by_id(id, tx)
    if not payout then return nil, "state" end
    store.batch(payout.batch_id, tx, true)
    payout = store.by_id(id, tx)
    if not what.from[payout.state] then return nil, "state" end
    store.move(id, payout.state, what.to, reason, tx)
    local by = { ref_type = "payout", ref_id = tostring(id), actor = "account:" .. actor, reason = reason }
    if what.back then
      back_to_payable(payout, actor, tx)
    elseif action == "settle" then
      by.key, by.type = ("payout:%d:settled"):format(id), "payout_settled"
      by.legs = { leg("model", payout.model_id, "model_payable", -payout.money_minor, payout.currency),
        leg("site", 0, "bank", payout.money_minor, payout.currency) }
      ledger_post.book(by, tx)
    elseif action == "return" then
      by.key, by.type = ("payout:%d:returned"):format(id), "payout_returned"
      by.reverses = ledger_post.find(("payout:%d:sent"):format(id), tx)
      by.legs = { leg("model", payout.model_id, "model_payable", -payout.money_minor, payout.currency),
        leg("site", 0, "conversion", payout.money_minor, payout.currency),
        leg("site", 0, "conversion", -payout.amount), leg("model", payout.model_id, "model_payable", payout.amount) }
      ledger_post.book(by, tx)
    end
    return true
  end)
end

--- The statement of a month, "2026-11", once it is over. Written once; repeats change nothing.
function flow.close_month(model_id, month)
  local year, number = month:match("^(%d%d%d%d)%-(%d%d)$")
  local from = month .. "-01 00:00:00"
  local next_year, next_number = tonumber(year), tonumber(number) + 1
  if next_number == 13 then next_year, next_number = next_year + 1, 1 end
  local to = ("%04d-%02d-01 00:00:00"):format(next_year, next_number)
  within(nil, function(tx)
    local totals = { kind = "month", model = model_id, month = month, unit = "micro-credits", balances = {} }
    for _, kind in ipairs { "model_pending", "model_payable", "hold" } do
      totals[kind] = {}
      local opening = store.balance_at(model_id, kind, from, tx)
      local closing = opening
      for _, row in ipairs(store.movements(model_id, kind, from, to, tx)) do
        totals[kind][row.type] = { amount = row.amount, count = row.count }
        closing = closing + row.amount
      end
      totals.balances[kind] = { opening = opening, closing = closing }
    end
    store.add_statement(model_id, "month", month, totals, tx)
  end)
end

return flow
