---@meta runtime.text
--- Text that people wrote. Lengths are code points.
local text = {}

---@param s string
---@return boolean
function text.valid(s) end

---@param s string
---@return integer? nil if it is not UTF-8
function text.length(s) end

--- Without spaces at its ends, runs of white space folded (kept where several lines are allowed). nil and
--- the reason for control, invisible and direction-turning characters and the like.
---@param s string
---@param multiline? boolean
---@return string? clean, string? reason
function text.clean(s, multiline) end

---@param s string
---@param n integer
---@return string
function text.cut(s, n) end

--- For comparing names without regard to case.
---@param s string
---@return string
function text.fold(s) end

---@param s string
---@return string
function text.html(s) end

---@param s string
---@return string
function text.url(s) end

---@param s string
---@param plus? boolean + is a space
---@return string? nil when an escape is malformed
function text.unurl(s, plus) end

return text
