-- footlight wallet: look at a wallet, and put right by hand what must be, with a reason that stays.
local accounts = require "store.accounts"
local billing = require "runtime.billing"
local command = require "footlight.command"
local crypto = require "runtime.crypto"
local ledger = require "store.ledger"

local SHOWN = 10

local function account_of(out, name)
  local account = accounts.by_name(name)
  if not account then out:stop(command.NOT_FOUND, ("there is no account '%s'"):format(name)) end
  return account
end

local function amount_of(out, text)
  local amount = command.credits(text)
  if not amount or amount == 0 then
    out:stop(command.USAGE, ("'%s' is no amount: credits above zero, at most six decimals"):format(text))
  end
  return amount
end

local function reason_of(out, options)
  if not options.reason or not options.reason:find("%S") then
    out:stop(command.USAGE, "--reason is missing: it stays in the ledger, for those who ask later")
  end
  return options.reason
end

local function describe(name, wallet)
  local show = command.show_credits
  local lines = {
    ("%s (account %d)"):format(name, wallet.account),
    ("  paid      %s"):format(show(wallet.paid)),
    ("  bonus     %s"):format(show(wallet.bonus)),
    ("  reserved  %s"):format(show(wallet.held)),
  }
  if wallet.debt > 0 then lines[#lines + 1] = ("  owed      %s"):format(show(wallet.debt)) end
  if wallet.frozen then lines[#lines + 1] = "  frozen" end
  lines[#lines + 1] = ("  change    %d"):format(wallet.seq)
  return table.concat(lines, "\n")
end

local function operation(options, out, account, kind)
  return {
    op = options.op or "command:" .. crypto.random_token(15), account = account.id, type = kind,
    reason = reason_of(out, options), actor = "command",
  }
end

local function change(options, out, name, text, take)
  local account, amount = account_of(out, name), amount_of(out, text)
  local values = operation(options, out, account, "adjustment")
  values.amount = amount
  values.bucket = options.bonus and "bonus" or "paid"
  local wallet, reason
  if take then
    wallet, reason = billing.debit(values)
    if not wallet then return out:fail(command.FAILED, ("refused: %s"):format(reason)) end
  else
    wallet = billing.credit(values)
  end
  local note = wallet.repeated and "\n  (this key had been used: nothing was changed)" or ""
  out:result(wallet, describe(name, wallet) .. note)
  return command.OK
end

local function freeze(frozen)
  return function(options, out, name)
    local values = operation(options, out, account_of(out, name), "freeze")
    values.frozen = frozen
    local wallet = billing.freeze(values)
    out:result(wallet, describe(name, wallet))
    return command.OK
  end
end

local function seconds_of(out, text, least)
  local seconds = math.tointeger(tonumber(text:match "^%d+$"))
  if not seconds or seconds < least then
    out:stop(command.USAGE, ("'%s' is no number of seconds"):format(text))
  end
  return seconds
end

local function grant(options, out, name, text)
  local account = account_of(out, name)
  local values = operation(options, out, account, "grant")
  values.seconds = seconds_of(out, text, 1)
  local wallet, reason = billing.grant(values)
  if not wallet then return out:fail(command.FAILED, ("refused: %s"):format(reason)) end
  out:result(wallet, ("%s may watch %d seconds free"):format(name, billing.allowance(account.id).granted))
  return command.OK
end

local function limit(options, out, name, text)
  local account = account_of(out, name)
  local values = operation(options, out, account, "limit")
  values.whose, values.seconds = "site", seconds_of(out, text, 0)
  local wallet = billing.limit(values)
  out:result(wallet, values.seconds == 0 and name .. " may watch without a limit of the site"
    or ("%s may watch %d seconds a day"):format(name, values.seconds))
  return command.OK
end

local reason_option = { "--reason TEXT", "why; stays in the ledger" }
local op_option = { "--op KEY", "a key of your own: the same key counts once" }

return command.define {
  name = "wallet", summary = "show a wallet, give and take credits",
  commands = {
    { "show", summary = "what is in it, and its latest changes", arguments = { "NAME" },
      run = function(_, out, name)
        local wallet = billing.wallet(account_of(out, name).id)
        local history = ledger.history(wallet.account, SHOWN)
        local lines = { describe(name, wallet) }
        for _, row in ipairs(history) do
          lines[#lines + 1] = ("  %6d  %s  %-12s %12s  %s"):format(row.wseq, tostring(row.occurred_at):sub(1, 19),
            row.type, command.show_credits(row.paid + row.bonus), row.reason or row.ref_id or "")
        end
        wallet.history = history
        out:result(wallet, table.concat(lines, "\n"))
        return command.OK
      end },
    { "credit", summary = "give credits", arguments = { "NAME", "AMOUNT" },
      options = { reason_option, { "--bonus", "as bonus credits" }, op_option },
      run = function(options, out, name, amount) return change(options, out, name, amount, false) end },
    { "debit", summary = "take credits", arguments = { "NAME", "AMOUNT" },
      options = { reason_option, op_option },
      run = function(options, out, name, amount) return change(options, out, name, amount, true) end },
    { "grant", summary = "give free seconds, with any model and for ever", arguments = { "NAME", "SECONDS" },
      options = { reason_option, op_option }, run = grant },
    { "limit", summary = "seconds a day that the account may be charged for; 0: no limit",
      arguments = { "NAME", "SECONDS" }, options = { reason_option, op_option }, run = limit },
    { "freeze", summary = "nothing can be spent", arguments = { "NAME" },
      options = { reason_option, op_option }, run = freeze(true) },
    { "unfreeze", summary = "spending is allowed again", arguments = { "NAME" },
      options = { reason_option, op_option }, run = freeze(false) },
  },
}
