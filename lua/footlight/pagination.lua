--- Pages of a list, whose number is in the address.
local router = require "footlight.router"

local pagination = {}

local Pages = {}
Pages.__index = Pages

--- read(req, { size = 24, most = 200, parameter = "page" }) → { page, size, offset }. What is no page
-- number is page 1; beyond `most` there is nothing (404): nobody reads so far, only programs do.
function pagination.read(req, options)
  options = options or {}
  local parameter = options.parameter or "page"
  local text = req.query[parameter]
  local page = 1
  if type(text) == "string" and text:find("^[1-9]%d*$") then
    page = #text <= 9 and math.tointeger(tonumber(text)) or math.maxinteger
  end
  if page > (options.most or 200) then req:not_found() end
  local size = options.size or 24
  return setmetatable({
    page = page, size = size, offset = (page - 1) * size, parameter = parameter,
    path = req.path, query = req.query, most = options.most or 200,
  }, Pages)
end

--- The address of another page: all of the query stays, page 1 has no number.
function Pages:url(page)
  local query = {}
  for name, value in pairs(self.query) do
    if name ~= self.parameter and type(value) == "string" then query[name] = value end
  end
  if page > 1 then query[self.parameter] = page end
  local text = router.query(query)
  return self.path .. (text ~= "" and "?" .. text or "")
end

--- Adds total, pages, previous and next (addresses, nil at the ends).
function Pages:finish(total)
  self.total = total
  self.pages = math.min(math.max((total + self.size - 1) // self.size, 1), self.most)
  self.previous = self.page > 1 and self:url(math.min(self.page - 1, self.pages)) or nil
  self.next = self.page < self.pages and self:url(self.page + 1) or nil
  return self
end

return pagination
