-- footlight model: profiles of performers and their stream keys.
local accounts = require "store.accounts"
local audit = require "store.audit"
local command = require "footlight.command"
local config = require "runtime.config"
local db = require "runtime.db"
local json = require "runtime.json"
local models = require "store.models"
local rooms = require "store.rooms"
local stream_keys = require "store.stream_keys"

local MOST_RATE = 10000 * 1000000

local function find(out, slug)
  return models.by_slug(slug) or out:stop(command.NOT_FOUND, ("there is no model %s"):format(slug))
end

local function shown(model)
  local room = rooms.by_model(model.id)
  local key = stream_keys.of_model(model.id)
  return {
    id = model.id, slug = model.slug, stage_name = model.stage_name, account = model.account_name,
    account_id = model.account_id, state = model.state, version = model.state_version,
    reason = model.state_reason, title = room.title, rate = room.rate,
    rate_credits = command.show_credits(room.rate), tags = json.array(room.tags),
    key = key and { hint = key.hint, created_at = key.created_at } or nil,
  }
end

local function as_text(values)
  return ("%s  id %d  %s  %s  account %s\nrate %s credits a minute  %s\n%s"):format(values.slug, values.id,
    values.stage_name, values.state, values.account, values.rate_credits, values.title,
    values.key and ("stream key …" .. values.key.hint .. " since " .. values.key.created_at:sub(1, 19))
      or "no stream key")
end

local function print_model(out, slug)
  local values = shown(models.by_slug(slug))
  out:result(values, as_text(values))
  return command.OK
end

local function read_rate(out, text)
  if not text then return nil end
  local rate = command.credits(text)
  if not rate or rate > MOST_RATE then
    out:stop(command.USAGE, "a rate is 0 to 10000 credits a minute, with at most six decimals")
  end
  return rate
end

-- The account that is named, or one made for the model: nobody can sign in to it until it has a password.
local function account_for(out, slug, name, tx)
  if name then
    return accounts.by_name(name, tx) or out:stop(command.NOT_FOUND, ("there is no account %s"):format(name))
  end
  local own = slug:gsub("-", "_")
  if #own < 3 or #own > 20 then
    out:stop(command.USAGE, "name an account by --account: the slug does not make a name for one")
  end
  return accounts.by_name(own, tx) or accounts.create({ name = own, state = "active" }, tx)
end

local function create(options, out, slug)
  if #slug > 32 or not (slug:find("^[a-z0-9][a-z0-9-]*[a-z0-9]$") or slug:find("^[a-z0-9]$")) then
    return out:fail(command.USAGE, "a slug has up to 32 of a-z, 0-9 and -, and no - at its ends")
  end
  local rate = read_rate(out, options.rate)
  db.transaction(function(tx)
    if models.by_slug(slug, tx) then out:stop(command.FAILED, ("there is a model %s"):format(slug)) end
    local account = account_for(out, slug, options.account, tx)
    local other = models.by_account(account.id, tx)
    if other then
      out:stop(command.FAILED, ("the account %s is the model %s already"):format(account.name, other.slug))
    end
    local id = models.create({ account_id = account.id, slug = slug, stage_name = options.name,
      state = "submitted" }, tx)
    if options.title or rate then
      rooms.save({ model_id = id, version = 1, title = options.title, rate = rate }, tx)
    end
    audit.write({ action = "model.created", target = "model:" .. id, detail = { slug = slug } }, tx)
  end)
  return print_model(out, slug)
end

local function move(out, slug, to, reason)
  local model = find(out, slug)
  if model.state == to then return print_model(out, slug) end
  if not models.may_move(model.state, to) then
    return out:fail(command.FAILED, ("%s is %s and cannot become %s"):format(slug, model.state, to))
  end
  local moved = db.transaction(function(tx)
    local ok = models.move({ id = model.id, version = model.state_version, from = model.state, to = to,
      reason = reason }, tx)
    if ok then
      audit.write({ action = "model." .. to, target = "model:" .. model.id,
        detail = { from = model.state, reason = reason } }, tx)
    end
    return ok
  end)
  if not moved then return out:fail(command.FAILED, "somebody else moved the profile at the same time") end
  return print_model(out, slug)
end

local function needs_reason(to)
  return function(options, out, slug)
    if not options.reason then return out:fail(command.USAGE, "--reason is missing") end
    return move(out, slug, to, options.reason)
  end
end

local function key(options, out, slug)
  local model = find(out, slug)
  local known = stream_keys.of_model(model.id)
  if known and not options.rotate then
    out:result({ slug = slug, hint = known.hint, created_at = known.created_at, made = false },
      ("the key that ends in %s is in force since %s; it cannot be shown again (--rotate makes a new one)")
        :format(known.hint, known.created_at:sub(1, 19)))
    return command.OK
  end
  local made = db.transaction(function(tx)
    local text = stream_keys.rotate(model.id, tx)
    audit.write({ action = "model.key_rotated", target = "model:" .. model.id }, tx)
    return text
  end)
  local url = config.get("rtmp.publish_url") or "rtmp://localhost/publish"
  out:result({ slug = slug, key = made, publish_url = url, url = url .. "/" .. made, made = true }, made)
  return command.OK
end

local reason = { { "--reason TEXT", "which the performer can read" } }

return command.define {
  name = "model",
  summary = "make, approve and show models; their stream keys",
  commands = {
    { "create", summary = "make a profile that waits for approval", arguments = { "SLUG" },
      options = {
        { "--account NAME", "whose it is (one is made if none is named)" },
        { "--name TEXT", "the stage name (the slug)" },
        { "--title TEXT", "of the room" },
        { "--rate CREDITS", "a minute; 0 is free (0)" },
      },
      run = create },
    { "approve", summary = "let the model broadcast", arguments = { "SLUG" },
      run = function(_, out, slug) return move(out, slug, "approved") end },
    { "suspend", summary = "end a broadcast and allow no other", arguments = { "SLUG" }, options = reason,
      run = needs_reason("suspended") },
    { "reject", summary = "turn an application down", arguments = { "SLUG" }, options = reason,
      run = needs_reason("rejected") },
    { "show", summary = "show a model", arguments = { "SLUG" },
      run = function(_, out, slug)
        find(out, slug)
        return print_model(out, slug)
      end },
    { "key", summary = "make a stream key and print it, once; say whether there is one", arguments = { "SLUG" },
      options = { { "--rotate", "make a new key, which ends the old one" } },
      run = key },
  },
}
