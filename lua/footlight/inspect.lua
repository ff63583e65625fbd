--- Values as people read them: tables with sorted keys, texts in quotes, within limits.
local inspect = {}

local DEPTH, ITEMS, TEXT, TOTAL = 6, 100, 2000, 64 * 1024

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function quote(text)
  local cut = #text > TEXT and ("… (%d bytes)"):format(#text) or ""
  text = text:sub(1, TEXT)
  if cut ~= "" then text = text:gsub("[\xC0-\xFF][\x80-\xBF]*$", "") end
  local unprintable = utf8.len(text) and '[%c"\\\x7F]' or '[%c"\\\x7F-\xFF]'
  return '"' .. text:gsub(unprintable, function(c) return escapes[c] or ("\\x%02X"):format(c:byte()) end) .. '"' .. cut
end

local order = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local left, right = type(a), type(b)
  if left ~= right then return (order[left] or 4) < (order[right] or 4) end
  if left == "number" or left == "string" then return a < b end
  return tostring(a) < tostring(b)
end

-- At most ITEMS keys are looked at: a table of a million entries must not hold anybody up.
local function keys_of(value)
  local keys, more = {}, false
  for key in next, value do
    if #keys == ITEMS then
      more = true
      break
    end
    keys[#keys + 1] = key
  end
  table.sort(keys, before)
  return keys, more
end

local write

local function write_key(state, key, depth)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return state:add(key) end
  state:add("[")
  write(state, key, depth)
  state:add("]")
end

local function write_table(state, value, depth)
  if state.open[value] then return state:add("(a table around this one)") end
  local keys, more = keys_of(value)
  if #keys == 0 then return state:add("{}") end
  if depth > DEPTH then return state:add("{…}") end
  state.open[value] = true
  local indent = ("  "):rep(depth)
  state:add("{")
  for position, key in ipairs(keys) do
    if state.size > TOTAL then break end
    state:add("\n" .. indent)
    if key ~= position then
      write_key(state, key, DEPTH + 1)
      state:add(" = ")
    end
    write(state, rawget(value, key), depth + 1)
    state:add(",")
  end
  if more or state.size > TOTAL then state:add("\n" .. indent .. "…") end
  state:add("\n" .. indent:sub(3) .. "}")
  state.open[value] = nil
end

function write(state, value, depth)
  local kind = type(value)
  if kind == "string" then return state:add(quote(value)) end
  local meta = kind == "table" and debug.getmetatable(value)
  if kind == "table" and not (type(meta) == "table" and rawget(meta, "__tostring")) then
    return write_table(state, value, depth)
  end
  local ok, text = pcall(tostring, value)
  state:add(ok and text or ("(%s whose __tostring fails)"):format(kind))
end

local State = {}
State.__index = State

function State:add(text)
  self.parts[#self.parts + 1] = text
  self.size = self.size + #text
end

--- The value as text; at most some 64 KiB of it, six levels deep.
function inspect.value(value)
  local state = setmetatable({ parts = {}, size = 0, open = {} }, State)
  write(state, value, 1)
  return table.concat(state.parts)
end

return inspect
