-- footlight demo: people and rooms to look at. Safe to run again: what is there stays as it is, and only
-- what is missing is made.
local accounts = require "store.accounts"
local billing = require "runtime.billing"
local command = require "footlight.command"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local file = require "runtime.file"
local models = require "store.models"
local process = require "runtime.process"
local rooms = require "store.rooms"
local stream_keys = require "store.stream_keys"

local CREDIT = 1000000
local ACCOUNTS = "demo-accounts.txt" -- below <var>, readable by its owner only

local demo_models = {
  { name = "mara_lind", slug = "mara", stage_name = "Mara Lind", rate = 0,
    title = "Slow mornings: coffee, plants and requests",
    tags = { "music", "talk", "cosy", "english" },
    bio = "I sing while the kettle boils and read your messages aloud.\n\n"
      .. "Weekdays from eight. Bring a song title and I shall try it." },
  { name = "jonas_f", slug = "jonas", stage_name = "Jonas Falk", rate = 60,
    title = "Life drawing, one pose an hour",
    tags = { "art", "drawing", "quiet", "english" },
    bio = "Charcoal and ink. I explain what I do while I do it, and sell nothing but the time." },
  { name = "noor_dance", slug = "noor", stage_name = "Noor", rate = 30,
    title = "Contemporary dance rehearsal",
    tags = { "dance", "fitness", "music" },
    bio = "Rehearsals as they are, mistakes included." },
  { name = "theo_b", slug = "theo-b", stage_name = "Théo B.", rate = 0,
    title = "Cuisine du soir : pâtes fraîches",
    tags = { "cooking", "talk", "francais" },
    bio = "Je cuisine, vous décidez de la sauce." },
  { name = "ines_k", slug = "ines", stage_name = "Inês K.", rate = 120,
    title = "Tarot and small talk, one at a time",
    tags = { "talk", "cosy", "portugues" },
    bio = "Ask one question. I answer it honestly, whatever the cards say." },
}
local viewers = { { "ava_w", 250 }, { "ben_t", 100 }, { "cleo_p", 10 } }
local BROADCASTER = "mara"

-- Twenty characters of an alphabet in which nothing looks like anything else.
local function password()
  local alphabet, parts = "abcdefghjkmnpqrstuvwxyz23456789", {}
  for i = 1, 20 do
    local at = crypto.random_below(#alphabet) + 1
    parts[i] = alphabet:sub(at, at) .. (i % 5 == 0 and i < 20 and "-" or "")
  end
  return table.concat(parts)
end

local function known_lines()
  local lines = {}
  for line in (file.read(ACCOUNTS) or ""):gmatch("[^\n]+") do
    local name = line:match("^(%S+)%s+%S+%s+%S+")
    if name and name ~= "#" then lines[name] = line end
  end
  return lines
end

local function account_of(name, role, lines)
  local account = accounts.by_name(name)
  if account then return account, false end
  local secret = password()
  local hash = crypto.password_hash(secret)
  account = db.transaction(function(tx)
    local made = accounts.create({
      name = name, email = name .. "@demo.invalid", password_hash = hash, state = "active",
      role = role, verified = true,
    }, tx)
    return made
  end)
  lines[name] = ("%-12s %-10s %s"):format(name, role, secret)
  return account, true
end

local function model_of(spec, lines, reviewer)
  local account = account_of(spec.name, "viewer", lines)
  local model = models.by_slug(spec.slug)
  if model then return model end
  db.transaction(function(tx)
    local id = models.apply({
      account_id = account.id, slug = spec.slug, stage_name = spec.stage_name, bio = spec.bio,
      legal_name = "Demo " .. spec.stage_name, born = "1990-01-01", agreement_version = "demo",
    }, tx)
    local applied = models.by_id(id, tx)
    models.move({
      id = id, from = applied.state, version = applied.state_version, to = "approved",
      reviewer_id = reviewer.id,
    }, tx)
    rooms.save({
      model_id = id, version = 1, title = spec.title, bio = spec.bio, rate = spec.rate * CREDIT,
      tags = spec.tags,
    }, tx)
  end)
  lines[spec.name] = lines[spec.name]:gsub("viewer", "model ", 1)
  return models.by_slug(spec.slug)
end

local function save(lines)
  local names, text = {}, { "# Demo accounts of this site: name, role, password. Made by footlight demo." }
  for name in pairs(lines) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do text[#text + 1] = lines[name] end
  local path = config.get("var") .. "/" .. ACCOUNTS
  assert(file.write(ACCOUNTS, table.concat(text, "\n") .. "\n"))
  local result = assert(process.run { "chmod", "600", path })
  assert(result.status == 0, result.errors)
end

-- The key itself is kept nowhere, so each run that is asked for one makes a new one.
local function publish_url(model)
  local key = db.transaction(function(tx) return stream_keys.rotate(model.id, tx) end)
  return (config.get("rtmp.publish_url") or "rtmp://localhost/publish") .. "/" .. key
end

return command.define {
  name = "demo",
  summary = "make demo accounts, models and credits; print where to broadcast as the demo model",
  options = {
    { "--no-key", "do not make a new stream key for the demo broadcast" },
  },
  run = function(options, out)
    if config.get("environment") == "production" then
      return out:fail(3, "this site is in production; demo data does not belong there")
    end
    local lines = known_lines()
    local admin = account_of("demo_admin", "admin", lines)
    for _, spec in ipairs(demo_models) do model_of(spec, lines, admin) end
    for _, viewer in ipairs(viewers) do
      local account = account_of(viewer[1], "viewer", lines)
      billing.credit {
        op = "demo:" .. account.id, account = account.id, amount = viewer[2] * CREDIT,
        bucket = "paid", type = "adjustment", reason = "demo credits", actor = "command",
      }
    end
    save(lines)
    local result = { accounts = config.get("var") .. "/" .. ACCOUNTS, slug = BROADCASTER }
    local text = "demo accounts are in " .. result.accounts
    if not options.no_key then
      result.publish_url = publish_url(models.by_slug(BROADCASTER))
      text = text .. "\n" .. result.publish_url
    end
    out:result(result, text)
    return 0
  end,
}
