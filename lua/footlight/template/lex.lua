--- Splits a template into text, expressions and tags, and Lua expressions into their filters.
--
-- Strings and brackets of the Lua code are followed while looking for its end, so that
-- `{{ "}}" }}` and `{{ f({ a = { 1 } }) }}` mean what they look like.
local lex = {}

--- Raises "file:line: message". Every error of the compiler goes through here.
function lex.fail(chunk, line, message, ...)
  error(("%s:%d: %s"):format(chunk, line, message:format(...)), 0)
end

local closing = { ["("] = ")", ["["] = "]", ["{"] = "}" }

-- Behind the string that starts at pos, or nil if none starts there; raises if it does not end.
local function skip_string(code, pos, fail)
  local char = code:sub(pos, pos)
  if char == '"' or char == "'" then
    local from = pos + 1
    while true do
      local found = code:find("[\\\n" .. char .. "]", from)
      if not found or code:sub(found, found) == "\n" then fail(pos, "a string does not end") end
      if code:sub(found, found) == char then return found + 1 end
      from = found + 2
    end
  end
  local level = code:match("^%[(=*)%[", pos)
  if not level then return nil end
  local _, last = code:find("]" .. level .. "]", pos, true)
  if not last then fail(pos, "a long string does not end") end
  return last + 1
end

--- Walks over Lua code from pos. visit(char, pos, depth) is called for each character outside of
-- strings and may return true to stop there; the position of the stop is returned, or nil.
local function walk(code, pos, fail, visit)
  local stack = {}
  while pos <= #code do
    local behind = skip_string(code, pos, fail)
    if behind then
      pos = behind
    else
      local char = code:sub(pos, pos)
      if visit(char, pos, #stack) then return pos end
      if closing[char] then
        stack[#stack + 1] = closing[char]
      elseif char == ")" or char == "]" or char == "}" then
        if stack[#stack] ~= char then fail(pos, "unexpected '" .. char .. "'") end
        stack[#stack] = nil
      elseif char == "-" and code:sub(pos + 1, pos + 1) == "-" then
        fail(pos, "a comment is written {# so #}")
      end
      pos = pos + 1
    end
  end
  return nil
end

local function count_lines(text)
  return select(2, text:gsub("\n", ""))
end

--- Tokens of a template: { kind = "text" | "expression" | "tag", text, line }.
-- A tag or comment that stands alone on its line takes the line with it; `-` inside of a delimiter
-- takes all white space on that side.
function lex.tokens(source, chunk)
  local tokens, pos, line = {}, 1, 1
  local eat_space = false -- the last delimiter ended with a dash

  local function add_text(text, at)
    if eat_space then
      local kept = text:gsub("^%s+", "")
      at = at + count_lines(text) - count_lines(kept)
      text, eat_space = kept, kept == "" and eat_space
    end
    if text ~= "" then tokens[#tokens + 1] = { kind = "text", text = text, line = at } end
  end

  while true do
    local start = source:find("{[{%%#]", pos)
    if not start then break end
    local opener = source:sub(start, start + 1)
    local at = line + count_lines(source:sub(pos, start - 1))
    local function fail(where, message)
      lex.fail(chunk, at + count_lines(source:sub(start, where - 1)), message)
    end

    local body = start + 2
    local trim_before = source:sub(body, body) == "-"
    if trim_before then body = body + 1 end
    local stop, closer
    if opener == "{#" then
      closer, stop = "#}", source:find("#}", body, true)
    elseif opener == "{%" then
      closer = "%}"
      stop = walk(source, body, fail, function(char, p)
        return char == "%" and source:sub(p + 1, p + 1) == "}"
      end)
    else
      closer = "}}"
      stop = walk(source, body, fail, function(char, p, depth)
        return depth == 0 and char == "}" and source:sub(p + 1, p + 1) == "}"
      end)
    end
    if not stop then lex.fail(chunk, at, "'%s' without '%s'", opener, closer) end
    local code = source:sub(body, stop - 1)
    local after = stop + 2
    local trim_after = code:sub(-1) == "-"
    if trim_after then code = code:sub(1, -2) end

    local text = source:sub(pos, start - 1)
    if trim_before then
      text = text:gsub("%s+$", "")
    elseif opener ~= "{{" and not trim_after then
      local fresh = pos == 1 or source:sub(pos - 1, pos - 1) == "\n"
      local indent = text:match("\n([ \t]*)$") or (fresh and text:match("^([ \t]*)$"))
      local rest = source:match("^[ \t]*\r?\n()", after)
      if indent and rest then
        text = text:sub(1, #text - #indent)
        after = rest
      end
    end
    add_text(text, line)
    local total = source:sub(pos, after - 1)
    if opener == "{{" then
      tokens[#tokens + 1] = { kind = "expression", text = code, line = at }
    elseif opener == "{%" then
      local lead, word, rest = code:match("^(%s*)([%a_][%w_]*)(.*)$")
      if not word then lex.fail(chunk, at, "a tag begins with a word: {%% if … %%}") end
      tokens[#tokens + 1] =
        { kind = "tag", word = word, text = rest, line = at + count_lines(lead) }
    end
    if opener ~= "{#" or trim_after then eat_space = trim_after end
    line = line + count_lines(total)
    pos = after
  end
  add_text(source:sub(pos), line)
  return tokens
end

--- Splits `value | filter | filter(argument)` at the bars that stand outside of brackets.
-- Returns the value's code and a list of { name, arguments, line }.
function lex.filters(code, chunk, line)
  local function fail(where, message)
    lex.fail(chunk, line + count_lines(code:sub(1, where - 1)), message)
  end
  local parts, from = {}, 1
  walk(code, 1, fail, function(char, pos, depth)
    if char ~= "|" or depth > 0 then return false end
    if code:sub(pos + 1, pos + 1) == "|" then fail(pos, "'||' is 'or' in Lua") end
    parts[#parts + 1] = { code:sub(from, pos - 1), from }
    from = pos + 1
    return false
  end)
  parts[#parts + 1] = { code:sub(from), from }
  local filters = {}
  for i = 2, #parts do
    local text, at = parts[i][1], line + count_lines(code:sub(1, parts[i][2] - 1))
    local lead, name, rest = text:match("^(%s*)([%a_][%w_]*)%s*(.-)%s*$")
    local arguments = rest and (rest == "" and "" or rest:match("^%((.*)%)$"))
    if not arguments then lex.fail(chunk, at, "a filter is a name, or a name with (arguments)") end
    filters[#filters + 1] =
      { name = name, arguments = arguments, line = at + count_lines(lead), text = text }
  end
  return parts[1][1], filters
end

--- The string literal that code begins with, and what stands behind it; nil if there is none.
function lex.literal(code)
  local quote = code:match("^%s*([\"'])")
  if not quote then return nil end
  return code:match("^%s*" .. quote .. "([^\\\n" .. quote .. "]*)" .. quote .. "(.*)$")
end

lex.count_lines = count_lines
return lex
