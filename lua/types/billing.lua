---@meta runtime.billing
--- Wallets, meters and the outbox (docs/billing.md). Amounts are whole micro-credits. Every operation has a
--- key, `op`: the same key with the same content counts once, with other content it is a "duplicate".
local billing = {}

---@class wallet
---@field account integer
---@field paid integer
---@field bonus integer
---@field held integer reserved by meters and holds
---@field debt integer owed after a chargeback
---@field seq integer number of the last change
---@field frozen boolean
---@field repeated? boolean the key had been used: nothing was changed now
---@field paid_change? integer
---@field bonus_change? integer

---@class billing_operation
---@field op string 1 to 120 of letters, digits and :._-
---@field account integer
---@field type? string
---@field reason? string
---@field actor? string "account:7", "command", …
---@field currency? "CRD" anything else is refused as BADCURRENCY

---@class billing_credit: billing_operation
---@field amount integer
---@field bucket? "paid"|"bonus"

--- Raises whenever the credits are not there afterwards.
---@param values billing_credit
---@return wallet
function billing.credit(values) end

---@class billing_debit: billing_operation
---@field amount integer
---@field payee? integer model id
---@field message? string
---@field slug? string
---@field anonymous? boolean

--- Bonus first, then paid. nil and "no_funds", "frozen" or "duplicate".
---@param values billing_debit
---@return wallet|nil wallet, string|nil reason
function billing.tip(values) end

--- As tip, for anything else that takes credits; `type` is "adjustment" unless it is said. "purchase" and
--- "promotion" take back what was credited, from the paid or the bonus side, frozen or not.
---@param values billing_debit
---@return wallet|nil wallet, string|nil reason
function billing.debit(values) end

---@class billing_refund: billing_operation
---@field original string the op or the sid
---@field amount? integer all that is left

---@param values billing_refund
---@return wallet|nil wallet, string|nil reason
function billing.refund(values) end

---@class billing_hold: billing_debit
---@field seconds integer until it is released by itself, at most a day

--- Sets credits aside; `type` ("private") and payee are those of the later sale.
---@param values billing_hold
---@return wallet|nil wallet, string|nil reason
function billing.hold(values) end

---@class billing_capture: billing_operation
---@field original string the hold's op
---@field amount integer

--- Takes a part or all of a hold, once; the rest goes back.
---@param values billing_capture
---@return wallet|nil wallet, string|nil reason
function billing.capture(values) end

--- Gives a hold back; `op` is the hold's. Repeats are harmless.
---@param values { op: string, account: integer }
---@return wallet|nil wallet, string|nil reason
function billing.release(values) end

--- Takes what is there, freezes, books the rest as debt.
---@param values billing_credit
---@return wallet
function billing.chargeback(values) end

---@class billing_adjust: billing_operation
---@field amount integer with its sign
---@field bucket? "paid"|"bonus"
---@field reason string
---@field actor string

--- By staff. nil and "no_funds" rather than below zero; a frozen wallet, too.
---@param values billing_adjust
---@return wallet|nil wallet, string|nil reason
function billing.adjust(values) end

---@class billing_reverse: billing_operation
---@field original string

--- Undoes a credit, debit, capture, adjustment or chargeback as a whole, once. nil and "no_original",
--- "not_refundable" or "no_funds" (it was spent).
---@param values billing_reverse
---@return wallet|nil wallet, string|nil reason
function billing.reverse(values) end

---@class billing_grant: billing_operation
---@field seconds integer
---@field until_ms? integer for ever
---@field payee? integer with any model

--- Free seconds, which meters take before credits.
---@param values billing_grant
---@return wallet|nil wallet, string|nil reason
function billing.grant(values) end

---@class billing_limit: billing_operation
---@field whose "site"|"own"
---@field seconds integer a day; 0: no limit

--- How long a day may be watched by the meter; the smaller of the two counts.
---@param values billing_limit
---@return wallet
function billing.limit(values) end

---@param account integer
---@return { site_limit: integer, own_limit: integer, watched_ms: integer, leased_ms: integer, granted: integer }
function billing.allowance(account) end

---@class billing_memory: billing_operation
---@field paid integer what it took
---@field bonus integer
---@field refunded_paid? integer
---@field refunded_bonus? integer
---@field payee? integer
---@field at integer milliseconds
---@field seq integer the change number that the ledger had come to

--- Tells Redis again what it forgot after a week, so that it can be refunded (store.ledger_refunds).
---@param values billing_memory
---@return wallet|nil wallet, string|nil reason
function billing.remember(values) end

---@class billing_booked
---@field op string
---@field account integer
---@field type string
---@field paid integer what it moved, with signs
---@field bonus integer
---@field debt integer
---@field payee? integer
---@field refunded_paid? integer
---@field refunded_bonus? integer
---@field at integer milliseconds
---@field original? string of a reversal
---@field reversed_by? string

--- Tells Redis the key of a booked operation after all was lost (store.ledger_recovery); `repeated`: it
--- knows it.
---@param values billing_booked
---@return wallet
function billing.recall(values) end

---@class billing_freeze: billing_operation
---@field frozen boolean

---@param values billing_freeze
---@return wallet
function billing.freeze(values) end

---@param account integer
---@return wallet
function billing.wallet(account) end

---@param account integer
---@return wallet
function billing.balance(account) end

--- Recovery: sets a wallet that is behind `seq`; `repeated` when it was not.
---@param values { account: integer, paid: integer, bonus: integer, debt: integer, seq: integer, frozen: boolean, epoch: integer }
---@return wallet
function billing.restore(values) end

---@param account integer
---@return integer shard 0 to 15
function billing.shard(account) end

--- Accounts that have a wallet, and the next cursor; "0" begins and ends.
---@param cursor string
---@return integer[] accounts, string cursor
function billing.scan(cursor) end

--- Opens a meter in this process; it closes itself when it is cut. nil and a reason when it is refused.
---@param values { sid: string, account: integer, rate: integer, limit?: integer, payee?: integer, free?: integer, increment?: integer, minimum?: integer, off?: integer }
---@return { deadline_ms: integer, final: boolean, price: integer }|nil opened, string|nil reason
function billing.open(values) end

--- Somebody watches now. False when this process does not keep that session.
---@param sid string
---@return boolean
function billing.evidence(sid) end

--- The picture stops: no time passes for this session, until it goes on. At most ten minutes.
---@param sid string
---@return boolean known
function billing.pause(sid) end

---@param sid string
---@return boolean known
function billing.resume(sid) end

---@param sid string
---@param reason? string
---@return boolean known
function billing.close(sid, reason) end

---@class outbox_entry
---@field stream_ms integer
---@field stream_n integer
---@field account integer
---@field seq integer
---@field type string
---@field op string
---@field at integer
---@field paid integer
---@field bonus integer
---@field debt integer
---@field payee? integer
---@field actor? string
---@field reason? string
---@field ref? string
---@field ref_at? integer
---@field elapsed_ms? integer
---@field total? integer
---@field extra? string JSON
---@field of_type? string reversal: the type of what it undoes
---@field total_paid? integer what the sale took in all, refunds off, after this entry
---@field total_bonus? integer

billing.outbox = {}

---@return { shard: integer, length: integer, last_ms: integer, last_n: integer }[]
function billing.outbox.look() end

---@param shard integer
---@param after_ms integer
---@param after_n integer
---@param count integer
---@return outbox_entry[] entries, integer epoch
function billing.outbox.read(shard, after_ms, after_n, count) end

--- Forgets everything up to and including that entry.
---@param shard integer
---@param ms integer
---@param n integer
function billing.outbox.trim(shard, ms, n) end

return billing
