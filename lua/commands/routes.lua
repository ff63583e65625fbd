--- footlight routes: which handler answers which address.
local command = require "footlight.command"

local guards = { "signed_in", "guest", "role", "permission", "csrf", "limit", "cache", "camera" }

local function describe(options)
  local parts = {}
  for _, name in ipairs(guards) do
    local value = options[name]
    if name == "limit" and type(value) == "table" then
      parts[#parts + 1] = ("limit=%d/%ds"):format(value.count, value.seconds)
    elseif name == "csrf" and value == false then
      parts[#parts + 1] = "csrf=off"
    elseif type(value) == "table" then
      parts[#parts + 1] = name .. "=" .. table.concat(value, "|")
    elseif value == true then
      parts[#parts + 1] = name
    elseif value and name ~= "csrf" then
      parts[#parts + 1] = name .. "=" .. tostring(value)
    end
  end
  return table.concat(parts, " ")
end

return command.define {
  name = "routes",
  summary = "the addresses of the site and their handlers",
  arguments = { "[WORD]" },
  run = function(_, out, word)
    local app = require("site").app
    local rows, width = {}, { method = 6, path = 4, name = 4 }
    for _, route in ipairs(app.router:routes()) do
      local row = {
        method = route.method, path = route.path, name = route.name or "",
        guards = describe(route.options), source = route.source,
      }
      if not word or (row.path .. " " .. row.name .. " " .. row.source):find(word, 1, true) then
        rows[#rows + 1] = row
        for column, least in pairs(width) do width[column] = math.max(least, #row[column]) end
      end
    end
    table.sort(rows, function(a, b)
      if a.path ~= b.path then return a.path < b.path end
      return a.method < b.method
    end)
    local lines = {}
    for i, row in ipairs(rows) do
      lines[i] = ("%-" .. width.method .. "s %-" .. width.path .. "s  %-" .. width.name .. "s  %s  %s")
        :format(row.method, row.path, row.name, row.source, row.guards):gsub("%s+$", "")
    end
    out:result(rows, table.concat(lines, "\n"))
    if word and #rows == 0 then return out:fail(command.NOT_FOUND, "no route has " .. word) end
    return command.OK
  end,
}
