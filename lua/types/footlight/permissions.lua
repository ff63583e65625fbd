---@meta footlight.permissions
--- Who may do what: named permissions, held by roles.
local permissions = {}

--- What a role may do where the account does not say; "admin.*" stands for everything below it.
---@param role string
---@param list string[]
function permissions.define(role, list) end

---@param account table?
---@param name string
---@return boolean
function permissions.has(account, name) end

---@param account table?
---@param role string|string[]
---@return boolean
function permissions.in_role(account, role) end

return permissions
