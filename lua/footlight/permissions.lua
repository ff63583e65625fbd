--- Who may do what: named permissions ("admin.models"), held by roles.
--
-- The roles of a site are rows of MariaDB (roles, role_permissions); an account that a store returns
-- carries its own as `permissions` (a list or a set). Where it does not, what was defined here by
-- role is asked. A guest has none.
local permissions = {}

local roles = {}

--- define("moderator", { "room.moderate", "moderation.*" }): what a role may do by default. A name that
-- ends in ".*" stands for everything below it, "*" for everything.
function permissions.define(role, list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  roles[role] = set
end

local function holds(set, name)
  if set[name] or set["*"] then return true end
  local at = name
  while true do
    at = at:match("^(.*)%.[^.]*$")
    if not at then return false end
    if set[at .. ".*"] then return true end
  end
end

local function as_set(list)
  if #list == 0 then return list end
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

function permissions.has(account, name)
  if not account then return false end
  if type(account.permissions) == "table" then return holds(as_set(account.permissions), name) end
  local set = roles[account.role or ""]
  return set ~= nil and holds(set, name)
end

--- Whether the account has that role, or one of a list of roles.
function permissions.in_role(account, role)
  if not account then return false end
  if type(role) ~= "table" then return account.role == role end
  for _, each in ipairs(role) do
    if account.role == each then return true end
  end
  return false
end

-- As migrations/0001 gives them to the roles that every site begins with.
permissions.define("viewer", { "room.chat", "room.tip", "credits.buy" })
permissions.define("model", { "room.chat", "room.tip", "credits.buy", "studio.use" })
permissions.define("moderator",
  { "room.chat", "room.moderate", "moderation.reports", "moderation.live" })
permissions.define("admin", {
  "room.chat", "room.moderate", "moderation.reports", "moderation.live", "admin.*",
})

return permissions
