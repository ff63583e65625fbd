--- docs/reference.md, made of the definitions for editors in lua/types/ (LuaCATS). One module a file:
--- `---@meta name`, a text about it, then functions and classes with what stands above them.
local template = require "runtime.template"

local reference = {}

--- Reads one file: { name, text, items = { { kind = "function" | "class", … } } }. nil if it is no module.
function reference.parse(source)
  local module = { items = {}, text = {} }
  local comment = nil -- what stands above the next line of code
  local function fresh() comment = { text = {}, params = {}, returns = {}, fields = {} } end
  fresh()
  for line in (source .. "\n"):gmatch("(.-)\r?\n") do
    local tag, rest = line:match("^%-%-%-@([%w_]+)%s*(.*)$")
    if tag == "meta" then
      module.name = rest
    elseif tag == "class" then
      comment.class = rest:match("^[%w_.]+")
    elseif tag == "field" then
      comment.fields[#comment.fields + 1] = rest
    elseif tag == "param" then
      comment.params[#comment.params + 1] = rest
    elseif tag == "return" then
      comment.returns[#comment.returns + 1] = rest
    elseif tag == "type" then
      comment.type = rest
    elseif line:match("^%-%-%-") then
      comment.text[#comment.text + 1] = line:match("^%-%-%-%s?(.*)$")
    else
      local name, parameters = line:match("^function%s+([%w_.:]+)%s*%((.-)%)")
      local variable = line:match("^local%s+([%w_]+)%s*=%s*{")
      local field = line:match("^([%w_]+%.[%w_]+)%s*=")
      if name then
        module.items[#module.items + 1] = {
          kind = "function", name = name, parameters = parameters, text = comment.text,
          params = comment.params, returns = comment.returns,
        }
      elseif field and comment.type then
        module.items[#module.items + 1] =
          { kind = "value", name = field, type = comment.type, text = comment.text }
      elseif comment.class then
        module.items[#module.items + 1] =
          { kind = "class", name = comment.class, fields = comment.fields, text = comment.text }
      elseif variable and #module.text == 0 and #module.items == 0 then
        module.text = comment.text
      end
      if line ~= "" or #comment.text == 0 or variable or name then fresh() end
    end
  end
  return module.name and module or nil
end

local function write_item(out, item)
  local function add(text) out[#out + 1] = text end
  local text = table.concat(item.text, " ")
  if item.kind == "class" then
    add(("**%s**%s"):format(item.name, text ~= "" and " — " .. text or ""))
    add ""
    for _, field in ipairs(item.fields) do
      local name, rest = field:match("^(%S+)%s+(.*)$")
      add(("- `%s` %s"):format(name or field, rest or ""))
    end
    if #item.fields > 0 then add "" end
    return
  end
  if item.kind == "value" then
    add(("**`%s`** `%s` %s"):format(item.name, item.type:match("^(%S+)"),
      text ~= "" and text or item.type:match("^%S+%s+(.*)$") or ""))
    add ""
    return
  end
  add(("**`%s(%s)`**%s"):format(item.name, item.parameters, text ~= "" and "  " or ""))
  if text ~= "" then add(text) end
  add ""
  for _, parameter in ipairs(item.params) do
    local name, rest = parameter:match("^(%S+)%s+(.*)$")
    add(("- `%s` %s"):format(name or parameter, rest or ""))
  end
  for _, result in ipairs(item.returns) do add(("- → %s"):format(result)) end
  if #item.params + #item.returns > 0 then add "" end
end

--- The modules of a folder of types, sorted by name.
function reference.modules(folder)
  local list = {}
  for _, file in ipairs(template.files(folder)) do
    local module = file:find("%.lua$") and reference.parse(template.read(folder .. "/" .. file) or "")
    if module then
      module.file = file
      list[#list + 1] = module
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- The whole page.
function reference.write(folder)
  local out = {
    "# Reference", "",
    "Made by `footlight reference` of the definitions in `lua/types/`; change those. A `?` marks what may be nil.", "",
  }
  local modules = reference.modules(folder)
  for _, module in ipairs(modules) do
    local anchor = module.name:gsub("%.", "")
    out[#out + 1] = ("- [%s](#%s)"):format(module.name, anchor)
  end
  out[#out + 1] = ""
  for _, module in ipairs(modules) do
    out[#out + 1] = "## " .. module.name
    out[#out + 1] = ""
    if #module.text > 0 then
      out[#out + 1] = table.concat(module.text, " ")
      out[#out + 1] = ""
    end
    for _, item in ipairs(module.items) do write_item(out, item) end
  end
  return (table.concat(out, "\n"):gsub("\n+$", "")) .. "\n"
end

return reference
