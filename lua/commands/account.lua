-- footlight account: makes and shows accounts.
local accounts = require "store.accounts"
local audit = require "store.audit"
local command = require "footlight.command"
local crypto = require "runtime.crypto"
local db = require "runtime.db"

local LEAST_PASSWORD, LONGEST_PASSWORD = 8, 128
local roles = { viewer = true, model = true, moderator = true, admin = true }

local function shown(account)
  return {
    id = account.id, name = account.name, email = account.email, role = account.role,
    state = account.state, verified = account.email_verified_at ~= nil, created_at = account.created_at,
    has_password = account.password_hash ~= nil,
  }
end

local function as_text(account)
  return ("%s  id %d  %s  %s  %s\nmade %s"):format(account.name, account.id, account.role, account.state,
    account.email or "no email", account.created_at:sub(1, 19))
end

local function password_of(options)
  if not options.password_stdin then return options.password end
  return (io.stdin:read("l") or ""):gsub("\r$", "")
end

-- A sentence about what is wrong with the words, or nil.
local function objection(name, options, password)
  if not name:find("^[a-z0-9_]+$") or #name < 3 or #name > 20 then
    return "a name has 3 to 20 of a-z, 0-9 and _"
  elseif options.role and not roles[options.role] then
    return "a role is one of viewer, model, moderator, admin"
  elseif options.email and (#options.email > 254 or not options.email:find("^[^@%s]+@[^@%s]+$")) then
    return "that is no email address"
  elseif password and (#password < LEAST_PASSWORD or #password > LONGEST_PASSWORD) then
    return ("a password has %d to %d characters"):format(LEAST_PASSWORD, LONGEST_PASSWORD)
  end
end

local function create(options, out, name)
  local password = password_of(options)
  local wrong = objection(name, options, password)
  if wrong then return out:fail(command.USAGE, wrong) end
  local hash = password and crypto.password_hash(password) or nil
  local ok, account = pcall(db.transaction, function(tx)
    local made = accounts.create({
      name = name, email = options.email, password_hash = hash, role = options.role,
      state = options.active and "active" or "pending", verified = options.active and options.email ~= nil,
    }, tx)
    audit.write({ action = "account.created", target = "account:" .. made.id,
      detail = { role = made.role, state = made.state } }, tx)
    return made
  end)
  if not ok then
    if type(account) ~= "table" or not account.duplicate then error(account, 0) end
    return out:fail(command.FAILED, accounts.by_name(name) and ("the name %s is taken"):format(name)
      or ("there is an account with the address %s"):format(options.email))
  end
  out:result(shown(account), as_text(account))
  return command.OK
end

local function show(_, out, name)
  local account = accounts.by_name(name)
  if not account then return out:fail(command.NOT_FOUND, ("there is no account %s"):format(name)) end
  out:result(shown(account), as_text(account))
  return command.OK
end

return command.define {
  name = "account",
  summary = "make and show accounts",
  commands = {
    { "create", summary = "make an account; without --active it waits for its activation",
      arguments = { "NAME" },
      options = {
        { "--email ADDRESS", "where its mail goes" },
        { "--password TEXT", "seen by others in the list of processes: prefer --password-stdin" },
        { "--password-stdin", "read the password from standard input" },
        { "--role ROLE", "viewer (default), model, moderator or admin" },
        { "--active", "may sign in at once" },
      },
      run = create },
    { "show", summary = "show an account", arguments = { "NAME" }, run = show },
  },
}
