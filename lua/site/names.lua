--- What may be a name, a room's address and a password.
local names = {}

-- Words that would let somebody pass as the house, or that the site may want as an address.
local reserved = {}
for word in ([[about account accounts activate admin administrator administration api app apply
  billing blog chat contact credit credits events everyone footlight forgot guest help hooks info
  legal live login logout mail mailbox media mod moderator moderators model models nobody null
  official owner pay payment payments privacy realtime report reset root sandbox search security
  service settings show signup site staff static studio support system tags team terms thumbs
  undefined vendor webmaster www]]):gmatch("%S+") do
  reserved[word] = true
end

-- What people read as the same: 0 and o, 1 and l and i, rn and m, underscores.
local function skeleton(name)
  name = name:gsub("[_-]", ""):gsub("rn", "m"):gsub("vv", "w")
  return (name:gsub("[015il]", { ["0"] = "o", ["1"] = "l", i = "l", ["5"] = "s" }))
end

local reserved_skeletons = {}
for word in pairs(reserved) do reserved_skeletons[skeleton(word)] = true end

--- For form fields: the key of the error, or nil.
function names.check(name)
  if not name:find("^[a-z0-9_]+$") or #name < 3 or #name > 20 then return "signup.bad_name" end
  if reserved_skeletons[skeleton(name)] then return "signup.name_taken" end
end

function names.check_slug(slug)
  if #slug < 3 or #slug > 32 or not slug:find("^[a-z0-9][a-z0-9-]*[a-z0-9]$")
    or slug:find("--", 1, true) then
    return "apply.bad_slug"
  end
  if reserved_skeletons[skeleton(slug)] then return "apply.slug_taken" end
end

-- The beginnings of what heads every list of leaked passwords of this length.
local common = { "password", "passwort", "123456789", "qwertyui", "abcdefgh", "iloveyou", "letmein",
  "administrator", "footlight" }

--- Passwords that need no list to be guessed: one character or a short piece over and over, a run,
-- a famous one, or the name or address of the account.
function names.weak_password(password, values)
  local lower = password:lower()
  for size = 1, 4 do
    local piece = lower:sub(1, size)
    if piece:rep(#lower // size + 1):sub(1, #lower) == lower then return true end
  end
  local steps = true
  for i = 2, #lower do steps = steps and lower:byte(i) == lower:byte(i - 1) + 1 end
  if steps then return true end
  local rest = lower
  for _, word in ipairs(common) do rest = rest:gsub(word, "") end
  for _, field in ipairs { "name", "email" } do
    local own = values and values[field] and values[field]:lower() or ""
    if #own >= 3 then
      local from, to = rest:find(own, 1, true)
      if from then rest = rest:sub(1, from - 1) .. rest:sub(to + 1) end
    end
  end
  -- What is left has to carry the secret by itself.
  return #rest:gsub("%d+$", "") < 6
end

return names
