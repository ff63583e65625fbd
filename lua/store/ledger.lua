-- The double-entry ledger (migrations/0003_ledger.sql). One call of book is one transaction: what was
-- booked, the entries, the balances and the cursor, or nothing. Lists go to the database as one JSON
-- parameter each, so a batch of any size is the same few prepared statements.
local db = require "runtime.db"
local json = require "runtime.json"
local legs = require "store.ledger_legs"
local proof = require "store.ledger_proof"

local ledger = {}

local NOBODY = json.array {}

local function list(rows)
  return json.encode(#rows > 0 and rows or NOBODY)
end

-- Which of the entries are booked already, by key or by place in their wallet.
local known_sql = [[
  SELECT STRAIGHT_JOIN t.idem_key, t.account_id, t.wseq, t.type,
         CAST(JSON_VALUE(t.detail, '$.paid') AS SIGNED) AS paid,
         CAST(JSON_VALUE(t.detail, '$.bonus') AS SIGNED) AS bonus,
         CAST(JSON_VALUE(t.detail, '$.debt') AS SIGNED) AS debt
  FROM JSON_TABLE(?, '$[*]' COLUMNS (op VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin PATH '$.op')) AS e
  JOIN ledger_txns t ON t.idem_key = e.op
  UNION
  SELECT STRAIGHT_JOIN t.idem_key, t.account_id, t.wseq, t.type,
         CAST(JSON_VALUE(t.detail, '$.paid') AS SIGNED),
         CAST(JSON_VALUE(t.detail, '$.bonus') AS SIGNED),
         CAST(JSON_VALUE(t.detail, '$.debt') AS SIGNED)
  FROM JSON_TABLE(?, '$[*]' COLUMNS (account BIGINT UNSIGNED PATH '$.account',
                                     seq BIGINT UNSIGNED PATH '$.seq')) AS e
  JOIN ledger_txns t ON t.account_id = e.account AND t.wseq = e.seq]]

local txns_sql = [[
  INSERT INTO ledger_txns (idem_key, type, ref_type, ref_id, actor, reason, detail, occurred_at, shard,
                           epoch, stream_ms, stream_n, account_id, wseq, reverses_id)
  SELECT op, type, ref_type, ref_id, actor, LEFT(reason, 200), detail, FROM_UNIXTIME(at / 1000), shard,
         epoch, stream_ms, stream_n, account, seq,
         (SELECT o.id FROM ledger_txns o WHERE o.idem_key = e.reverses)
  FROM JSON_TABLE(?, '$[*]' COLUMNS (
    i FOR ORDINALITY,
    op VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin PATH '$.op',
    type VARCHAR(30) CHARACTER SET ascii PATH '$.type',
    ref_type VARCHAR(30) CHARACTER SET ascii PATH '$.ref_type',
    ref_id VARCHAR(160) CHARACTER SET ascii PATH '$.ref_id',
    actor VARCHAR(60) CHARACTER SET ascii PATH '$.actor', reason VARCHAR(500) PATH '$.reason',
    detail VARCHAR(8000) PATH '$.detail', at BIGINT UNSIGNED PATH '$.at',
    shard INT UNSIGNED PATH '$.shard', epoch INT UNSIGNED PATH '$.epoch',
    stream_ms BIGINT UNSIGNED PATH '$.stream_ms', stream_n BIGINT UNSIGNED PATH '$.stream_n',
    account BIGINT UNSIGNED PATH '$.account', seq BIGINT UNSIGNED PATH '$.seq',
    reverses VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin PATH '$.reverses')) AS e
  ORDER BY i
  RETURNING id, idem_key]]

local wallet_columns = [[COLUMNS (
    owner_type VARCHAR(10) CHARACTER SET ascii PATH '$.owner_type',
    owner_id BIGINT UNSIGNED PATH '$.owner_id', kind VARCHAR(30) CHARACTER SET ascii PATH '$.kind')]]

local wallets_sql = [[
  SELECT w.id, w.owner_type, w.owner_id, w.kind
  FROM JSON_TABLE(?, '$[*]' ]] .. wallet_columns .. [[) AS e
  JOIN wallets w ON w.owner_type = e.owner_type AND w.owner_id = e.owner_id AND w.kind = e.kind
                AND w.currency = 'CRD']]

-- IGNORE: another flusher may make the same one first. (ON DUPLICATE KEY UPDATE would want a right that
-- the services do not have.)
local make_wallets_sql = [[
  INSERT IGNORE INTO wallets (owner_type, owner_id, kind)
  SELECT DISTINCT owner_type, owner_id, kind
  FROM JSON_TABLE(?, '$[*]' ]] .. wallet_columns .. [[) AS e]]

local function wallet_name(leg)
  return leg.owner_type .. " " .. leg.owner_id .. " " .. leg.kind
end

-- name → wallet id for every leg; those that do not exist yet are made.
local function wallets_of(tx, wanted)
  local ids, missing = {}, {}
  local function look(names)
    for _, row in ipairs(tx.rows(wallets_sql, list(names))) do ids[wallet_name(row)] = row.id end
  end
  look(wanted)
  for _, leg in ipairs(wanted) do
    if not ids[wallet_name(leg)] then missing[#missing + 1] = leg end
  end
  if #missing == 0 then return ids end
  tx.exec(make_wallets_sql, list(missing))
  look(missing)
  return ids
end

-- wallet id → { balance, version }, locked in order of the ids.
local function lock_balances(tx, ids)
  local numbers = {}
  for _, id in pairs(ids) do numbers[#numbers + 1] = id end
  table.sort(numbers)
  local balances = {}
  tx.exec([[
    INSERT INTO wallet_balances (wallet_id)
    SELECT id FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS e
    WHERE id NOT IN (SELECT wallet_id FROM wallet_balances)]], list(numbers))
  for _, row in ipairs(tx.rows([[
    SELECT b.wallet_id, b.balance, b.version
    FROM wallet_balances b
    WHERE b.wallet_id IN (SELECT id FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS e)
    ORDER BY b.wallet_id FOR UPDATE]], list(numbers))) do
    balances[row.wallet_id] = { wallet_id = row.wallet_id, balance = row.balance, version = row.version }
  end
  return balances
end

--- The shares of a model (an id; nil: any) at a moment (ms): its own, else those of the settings, as they
-- were then. Redis tells whole milliseconds: the one in which a share was set counts as before. The numbers
-- that came first in the settings count from the beginning of time.
function ledger.splits(tx)
  local rows = (tx or db).rows([[
    SELECT name, CAST(JSON_VALUE(value, '$') AS SIGNED) AS bp,
           CAST(FLOOR(UNIX_TIMESTAMP(changed_at) * 1000) + 1 AS SIGNED) AS since
    FROM settings WHERE name IN ('billing.split_paid_bp', 'billing.split_promo_bp') ORDER BY version]])
  local function at(name, ms)
    local found
    for _, row in ipairs(rows) do
      -- What came first counts from the beginning of time.
      if row.name == name and (not found or row.since <= ms) then found = row.bp end
    end
    return found or 0
  end
  local models = {}
  local function own(model)
    if not models[model] then
      models[model] = (tx or db).rows([[
        SELECT paid_bp, promo_bp, CAST(FLOOR(UNIX_TIMESTAMP(valid_from) * 1000) + 1 AS SIGNED) AS since
        FROM revenue_splits WHERE model_id = ? ORDER BY valid_from DESC]], model)
    end
    return models[model]
  end
  return function(ms, model)
    local found = {}
    for _, row in ipairs((model or 0) ~= 0 and own(model) or {}) do
      if row.since <= ms then
        found = row
        break
      end
    end
    return { paid_bp = found.paid_bp or at("billing.split_paid_bp", ms),
      promo_bp = found.promo_bp or at("billing.split_promo_bp", ms) }
  end
end

local function quarantine(tx, shard, epoch, entry, reason)
  tx.exec([[
    INSERT INTO ledger_quarantine (shard, epoch, stream_ms, stream_n, entry, reason)
    VALUES (?, ?, ?, ?, ?, LEFT(?, 500))
    ON DUPLICATE KEY UPDATE reason = reason]],
    shard, epoch, entry.stream_ms, entry.stream_n, json.encode(entry), reason)
end

-- The ids that do not exist, of those the entries name.
local function strangers(tx, sql, ids)
  local unknown, asked = {}, {}
  for id in pairs(ids) do
    unknown[id] = true
    asked[#asked + 1] = id
  end
  for _, row in ipairs(tx.rows(sql, list(asked))) do unknown[row.id] = nil end
  return unknown
end

local accounts_sql = [[SELECT a.id FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS e
  JOIN accounts a ON a.id = e.id]]
local models_sql = [[SELECT m.id FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT UNSIGNED PATH '$')) AS e
  JOIN model_profiles m ON m.id = e.id]]

local function same(entry, row)
  return row.idem_key == entry.op and row.account_id == entry.account and row.wseq == entry.seq
    and row.type == entry.type and row.paid == entry.paid and row.bonus == entry.bonus
    and row.debt == entry.debt
end

local function malformed(entry)
  for _, name in ipairs { "account", "seq", "paid", "bonus", "debt", "at" } do
    if math.type(entry[name]) ~= "integer" then return "has no " .. name end
  end
  if not entry.op or not entry.type then return "has no key or no type" end
end

-- Splits the entries into those to book (with their legs), and the rest, which is counted.
local function sift(tx, shard, epoch, entries, counts)
  local accounts, models, by_op, by_place = {}, {}, {}, {}
  local sound = {}
  for _, entry in ipairs(entries) do
    local problem = malformed(entry)
    if problem then
      quarantine(tx, shard, epoch, entry, problem)
      counts.quarantined = counts.quarantined + 1
    else
      sound[#sound + 1] = entry
      accounts[entry.account] = true
      if (entry.payee or 0) ~= 0 then models[entry.payee] = true end
    end
  end
  entries = sound
  local text = list(entries)
  for _, row in ipairs(tx.rows(known_sql, text, text)) do
    by_op[row.idem_key] = row
    by_place[row.account_id .. ":" .. row.wseq] = row
  end
  local no_account = strangers(tx, accounts_sql, accounts)
  local no_model = strangers(tx, models_sql, models)
  local splits, fresh = ledger.splits(tx), {}
  local closed = tx.one([[
    SELECT CAST(COALESCE(UNIX_TIMESTAMP(MAX(ends)), 0) * 1000 AS SIGNED) AS ms FROM ledger_periods]]).ms
  for _, entry in ipairs(entries) do
    local booked = by_op[entry.op] or by_place[entry.account .. ":" .. entry.seq]
    local problem, its
    if booked then
      if not same(entry, booked) then problem = "contradicts what was booked as " .. booked.idem_key end
    elseif no_account[entry.account] then
      problem = "is of an account that does not exist"
    elseif no_model[entry.payee or 0] then
      problem = "is for a model that does not exist"
    elseif entry.at < closed then
      problem = "is of a month that is closed"
    else
      its, problem = legs.of(entry, splits(legs.split_at(entry), entry.payee))
    end
    if its then
      fresh[#fresh + 1] = { entry = entry, legs = its }
      -- Within a batch, too, a key and a place count once.
      local row = { idem_key = entry.op, account_id = entry.account, wseq = entry.seq, type = entry.type,
        paid = entry.paid, bonus = entry.bonus, debt = entry.debt }
      by_op[entry.op], by_place[entry.account .. ":" .. entry.seq] = row, row
    elseif problem then
      quarantine(tx, shard, epoch, entry, problem)
      counts.quarantined = counts.quarantined + 1
    else
      counts.duplicates = counts.duplicates + 1
    end
  end
  return fresh
end

local function reference(entry)
  if entry.type == "meter" or entry.type == "meter_close" then return "session", entry.ref end
  if entry.type == "refund" or entry.type == "reversal" then return "operation", entry.ref end
  local order = entry.op:match "^order:([^:]+)"
  if order then return "order", order end
  if (entry.payee or 0) ~= 0 then return "model", tostring(entry.payee) end
end

local function txn_row(shard, epoch, entry)
  local ref_type, ref_id = reference(entry)
  local extra = entry.extra and json.decode(entry.extra)
  local reason = entry.reason
  if entry.type == "adjustment" then reason = reason or "" end
  return {
    op = entry.op, type = entry.type, ref_type = ref_type, ref_id = ref_id,
    actor = entry.actor or "system", reason = reason, at = entry.at, shard = shard, epoch = epoch,
    stream_ms = shard and entry.stream_ms, stream_n = shard and entry.stream_n, account = entry.account, seq = entry.seq,
    detail = json.encode { paid = entry.paid, bonus = entry.bonus, debt = entry.debt, payee = entry.payee,
      elapsed_ms = entry.elapsed_ms, total = entry.total, ref_at = entry.ref_at, of_type = entry.of_type,
      extra = extra or nil },
    reverses = entry.type == "reversal" and entry.ref or nil,
  }
end

local function insert(tx, shard, epoch, fresh)
  -- Reversals come behind what they reverse, which they name.
  local rows, reversals, wanted, seen, ids = {}, {}, {}, {}, {}
  for _, item in ipairs(fresh) do
    local list_of = item.entry.type == "reversal" and reversals or rows
    list_of[#list_of + 1] = txn_row(shard, epoch, item.entry)
    for _, leg in ipairs(item.legs) do
      local name = wallet_name(leg)
      if not seen[name] then
        seen[name] = true
        wanted[#wanted + 1] = { owner_type = leg.owner_type, owner_id = leg.owner_id, kind = leg.kind }
      end
    end
  end
  for _, some in ipairs { rows, reversals } do
    for _, row in ipairs(#some > 0 and tx.rows(txns_sql, list(some)) or {}) do ids[row.idem_key] = row.id end
  end
  local wallets = wallets_of(tx, wanted)
  local balances = lock_balances(tx, wallets)
  local lines, tips, changed = {}, {}, {}
  for _, item in ipairs(fresh) do
    local entry = item.entry
    for _, leg in ipairs(item.legs) do
      local balance = balances[wallets[wallet_name(leg)]]
      balance.balance = balance.balance + leg.amount
      balance.version = balance.version + 1
      changed[balance.wallet_id] = balance
      lines[#lines + 1] = { txn = ids[entry.op], wallet = balance.wallet_id, seq = balance.version,
        amount = leg.amount, after = balance.balance }
    end
    if entry.type == "tip" and (entry.payee or 0) ~= 0 then
      local extra = entry.extra and json.decode(entry.extra) or {}
      tips[#tips + 1] = { txn = ids[entry.op], model = entry.payee, account = entry.account,
        amount = -(entry.paid + entry.bonus), anonymous = extra.anonymous and 1 or 0,
        message = extra.message or "", at = entry.at }
    end
  end
  tx.exec([[
    INSERT INTO ledger_entries (txn_id, wallet_id, seq, amount, balance_after)
    SELECT txn, wallet, seq, amount, after
    FROM JSON_TABLE(?, '$[*]' COLUMNS (
      txn BIGINT UNSIGNED PATH '$.txn', wallet BIGINT UNSIGNED PATH '$.wallet',
      seq BIGINT UNSIGNED PATH '$.seq', amount BIGINT PATH '$.amount', after BIGINT PATH '$.after')) AS e]],
    list(lines))
  local final = {}
  for _, balance in pairs(changed) do final[#final + 1] = balance end
  tx.exec([[
    UPDATE wallet_balances b
    JOIN JSON_TABLE(?, '$[*]' COLUMNS (
      wallet_id BIGINT UNSIGNED PATH '$.wallet_id', balance BIGINT PATH '$.balance',
      version BIGINT UNSIGNED PATH '$.version')) AS e ON e.wallet_id = b.wallet_id
    SET b.balance = e.balance, b.version = e.version]], list(final))
  if #tips > 0 then
    tx.exec([[
      INSERT INTO tips (ledger_txn_id, model_id, account_id, amount, anonymous, message, created_at)
      SELECT txn, model, account, amount, anonymous, LEFT(message, 200), FROM_UNIXTIME(at / 1000)
      FROM JSON_TABLE(?, '$[*]' COLUMNS (
        txn BIGINT UNSIGNED PATH '$.txn', model BIGINT UNSIGNED PATH '$.model',
        account BIGINT UNSIGNED PATH '$.account', amount BIGINT UNSIGNED PATH '$.amount',
        anonymous INT PATH '$.anonymous', message VARCHAR(1000) PATH '$.message',
        at BIGINT UNSIGNED PATH '$.at')) AS e]], list(tips))
  end
end

local function behind(entry, cursor)
  return entry.stream_ms > cursor.stream_ms
    or entry.stream_ms == cursor.stream_ms and entry.stream_n > cursor.stream_n
end

--- Books one entry that a person has decided about, beside the stream: without a place in it, so that the chain
-- of hashes stays as it is. nil and why it cannot be booked.
function ledger.book_decided(entry, tx)
  local its, problem = legs.of(entry, ledger.splits(tx)(legs.split_at(entry), entry.payee))
  if not its then return nil, problem end
  insert(tx, nil, nil, { { entry = entry, legs = its } })
  return true
end

--- Books what is new of `entries` (as billing.outbox.read gives them) and moves the shard's cursor behind
-- the last one. Returns { booked, duplicates, quarantined }.
function ledger.book(shard, epoch, entries)
  local counts
  db.transaction(function(tx)
    counts = { booked = 0, duplicates = 0, quarantined = 0 }
    local cursor = tx.one([[
      SELECT epoch, stream_ms, stream_n, batch_hash FROM ledger_cursors WHERE shard = ? FOR UPDATE]], shard)
    local todo = {}
    for _, entry in ipairs(entries) do
      if epoch > cursor.epoch or behind(entry, cursor) then todo[#todo + 1] = entry end
    end
    if #todo == 0 then return end
    local last = todo[#todo]
    local fresh = sift(tx, shard, epoch, todo, counts)
    local hash = cursor.batch_hash
    if #fresh > 0 then
      insert(tx, shard, epoch, fresh)
      counts.booked = #fresh
      local lines = {}
      for i, item in ipairs(fresh) do lines[i] = proof.line(item.entry) end
      hash = proof.hash(hash, lines)
      tx.exec([[
        INSERT INTO ledger_batches (shard, epoch, last_ms, last_n, txns, prev_hash, hash)
        VALUES (?, ?, ?, ?, ?, ?, ?)]],
        shard, epoch, last.stream_ms, last.stream_n, #fresh, cursor.batch_hash, hash)
    end
    tx.exec([[
      UPDATE ledger_cursors SET epoch = ?, stream_ms = ?, stream_n = ?, batch_hash = ?,
             updated_at = UTC_TIMESTAMP(6) WHERE shard = ?]],
      epoch, last.stream_ms, last.stream_n, hash, shard)
  end)
  return counts
end

--- Sets one entry aside that the database refused, so that those behind it are booked.
function ledger.set_aside(shard, epoch, entry, reason)
  db.transaction(function(tx)
    tx.one("SELECT shard FROM ledger_cursors WHERE shard = ? FOR UPDATE", shard)
    quarantine(tx, shard, epoch, entry, reason)
    tx.exec([[
      UPDATE ledger_cursors SET epoch = ?, stream_ms = ?, stream_n = ?, updated_at = UTC_TIMESTAMP(6)
      WHERE shard = ? AND (epoch < ? OR (stream_ms, stream_n) < (?, ?))]],
      epoch, entry.stream_ms, entry.stream_n, shard, epoch, entry.stream_ms, entry.stream_n)
  end)
end

--- shard (0 to 15) → { epoch, stream_ms, stream_n }
function ledger.cursors()
  local found = {}
  for _, row in ipairs(db.rows "SELECT shard, epoch, stream_ms, stream_n FROM ledger_cursors") do
    found[row.shard] = row
  end
  return found
end

--- A shard that was rebuilt begins a new stream: its cursor, too.
function ledger.restart(shard, epoch)
  db.exec([[
    UPDATE ledger_cursors SET epoch = ?, stream_ms = 0, stream_n = 0, updated_at = UTC_TIMESTAMP(6)
    WHERE shard = ? AND epoch < ?]], epoch, shard, epoch)
end

--- Whether a backup is being made: then what is booked stays in the outbox, too, so that a copy of Redis
-- that is made after the copy of the database has everything which that one lacks.
function ledger.backup_runs()
  return db.one("SELECT IS_USED_LOCK('footlight.backup') IS NOT NULL AS held").held == 1
end

local wallet_sql = [[
  SELECT
    CAST(COALESCE(SUM(IF(w.kind = 'viewer_paid', e.amount, 0)), 0) AS SIGNED) AS paid,
    CAST(COALESCE(SUM(IF(w.kind = 'viewer_promo', e.amount, 0)), 0) AS SIGNED) AS bonus,
    CAST(COALESCE(-SUM(IF(w.kind = 'viewer_debt', e.amount, 0)), 0) AS SIGNED) AS debt,
    CAST(COALESCE(MAX(t.wseq), 0) AS SIGNED) AS seq, COUNT(DISTINCT t.id) AS changes
  FROM ledger_txns t
  LEFT JOIN (ledger_entries e JOIN wallets w ON w.id = e.wallet_id AND w.owner_type = 'account')
    ON e.txn_id = t.id
  WHERE t.account_id = ? AND t.wseq <= ?]]

--- What the ledger says of one account's wallet, up to its change number `seq` (nil: all of them):
-- { paid, bonus, debt, seq, changes }. `changes` less than `seq` means that a number is missing.
function ledger.wallet(account, seq)
  return db.one(wallet_sql, account, seq or math.maxinteger)
end

--- Whether the last word on an account's wallet was to freeze it.
function ledger.frozen(account)
  local row = db.one([[
    SELECT type FROM ledger_txns WHERE account_id = ? AND type IN ('freeze', 'unfreeze', 'chargeback')
    ORDER BY wseq DESC LIMIT 1]], account)
  return row ~= nil and row.type ~= "unfreeze"
end

--- Accounts that the ledger knows, after `account`, at most `count`.
function ledger.accounts(account, count)
  return db.rows([[
    SELECT DISTINCT account_id AS id FROM ledger_txns WHERE account_id > ? ORDER BY account_id LIMIT ?]],
    account, count)
end

-- A table in pages of its ids, as it was at one moment: fn(tx, first, last) for each, then finish(tx). A
-- ledger of any size is looked through so, while no single statement takes long.
local PAGE = 20000
local function in_pages(of, fn, finish)
  db.transaction(function(tx)
    local most = tx.one("SELECT COALESCE(MAX(id), 0) AS id FROM " .. of).id
    for first = 1, most, PAGE do fn(tx, first, first + PAGE - 1) end
    if finish then finish(tx) end
  end)
end

--- Transactions whose legs do not sum to zero in a currency. There are none.
function ledger.unbalanced(count)
  local found = {}
  in_pages("ledger_txns", function(tx, first, last)
    if #found >= count then return end
    for _, row in ipairs(tx.rows([[
      SELECT t.id, t.idem_key, wrong.currency, wrong.sum
      FROM (SELECT e.txn_id, w.currency, SUM(e.amount) AS sum
        FROM ledger_entries e JOIN wallets w ON w.id = e.wallet_id
        WHERE e.txn_id BETWEEN ? AND ? GROUP BY e.txn_id, w.currency HAVING SUM(e.amount) <> 0) AS wrong
      JOIN ledger_txns t ON t.id = wrong.txn_id ORDER BY t.id LIMIT ?]],
      first, last, count - #found)) do
      found[#found + 1] = row
    end
  end)
  return found
end

--- Balances that differ from the sum of their entries. There are none.
function ledger.wrong_balances(count)
  local sums, wrong = {}, {}
  in_pages("ledger_entries", function(tx, first, last)
    for _, row in ipairs(tx.rows([[
      SELECT wallet_id, CAST(SUM(amount) AS SIGNED) AS sum, COUNT(*) AS entries
      FROM ledger_entries WHERE id BETWEEN ? AND ? GROUP BY wallet_id]], first, last)) do
      local known = sums[row.wallet_id] or { sum = 0, entries = 0 }
      sums[row.wallet_id] = { sum = known.sum + row.sum, entries = known.entries + row.entries }
    end
  end, function(tx)
    local last = 0
    repeat
      local page = tx.rows("SELECT wallet_id, balance, version FROM wallet_balances WHERE wallet_id > ? "
        .. "ORDER BY wallet_id LIMIT 5000", last)
      for _, row in ipairs(page) do
        local its = sums[row.wallet_id] or { sum = 0, entries = 0 }
        last = row.wallet_id
        if (row.balance ~= its.sum or row.version ~= its.entries) and #wrong < count then
          row.sum, row.entries = its.sum, its.entries
          wrong[#wrong + 1] = row
        end
      end
    until #page < 5000
  end)
  return wrong
end

--- Entries that wait for a decision of staff.
function ledger.quarantined(count)
  return db.rows([[
    SELECT id, shard, epoch, stream_ms, stream_n, entry, reason, created_at FROM ledger_quarantine
    WHERE solved_at IS NULL ORDER BY id LIMIT ?]], count)
end

--- The latest changes of an account's wallet, newest first.
function ledger.history(account, count)
  return db.rows([[
    SELECT t.id, t.idem_key, t.type, t.ref_type, t.ref_id, t.actor, t.reason, t.occurred_at, t.wseq,
           CAST(JSON_VALUE(t.detail, '$.paid') AS SIGNED) AS paid,
           CAST(JSON_VALUE(t.detail, '$.bonus') AS SIGNED) AS bonus
    FROM ledger_txns t WHERE t.account_id = ? ORDER BY t.wseq DESC LIMIT ?]], account, count)
end

return ledger
