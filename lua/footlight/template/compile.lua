--- Turns one template into Lua.
--
-- Every block, macro and the body become a Lua chunk of their own, in which each piece of code
-- stands on the line that it has in the template: what Lua says about an error is then right by
-- itself. Free names in a template's expressions are the fields of its `_ENV`, the variables that
-- were handed to it. Names that begin with two underscores belong to this file.
local context = require "footlight.template.context"
local lex = require "footlight.template.lex"

local compile = {}

local DEPTH = 60 -- of nested tags
local writers = { "raw", "html", "attribute", "url", "url_part", "query", "json", "json_inside" }
local header = "local __w,__f,__g=...;local __" .. table.concat(writers, ",__")
  .. ",__write,__buffer=__w." .. table.concat(writers, ",__w.") .. ",__w.write,__w.buffer;"
-- What one line of a template prints is one call: __write(__o,"rh",text,value). A letter a piece.
local letters = {
  raw = "r", html = "h", attribute = "a", url = "u", url_part = "p", query = "q", json = "j",
  json_inside = "i",
}
local RUN_MOST = 40 -- pieces in a call: Lua has some two hundred registers

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch("%a+") do keywords[word] = true end

-- ---- frames: chunks that are being written -----------------------------------------------------

local function open_frame(self, kind, start)
  self.frame = { kind = kind, start = start, pieces = {}, line = 1, locals = {}, up = self.frame }
  return self.frame
end

local function emit_code(frame, line, code)
  if frame.line < line then
    frame.pieces[#frame.pieces + 1] = ("\n"):rep(line - frame.line)
    frame.line = line
  end
  frame.pieces[#frame.pieces + 1] = code
  frame.line = frame.line + lex.count_lines(code)
  return #frame.pieces
end

-- Writes down the call that was being gathered.
local function flush(frame)
  local printed = frame.run
  if not printed then return end
  frame.run = nil
  local values = table.concat(printed.values, ",")
  if #printed.values == 1 then
    emit_code(frame, printed.line, ("__%s(__o,%s);"):format(printed.writer, values))
  else
    emit_code(frame, printed.line,
      ('__write(__o,"%s",%s);'):format(table.concat(printed.letters), values))
  end
end

local function emit(self, line, code)
  flush(self.frame)
  return emit_code(self.frame, line, code)
end

-- Prints `code`'s value by `name`. Only pieces that begin on the line of the call go into it, so that
-- Lua's own messages name the right line.
local function print_value(self, line, name, code)
  local frame = self.frame
  local printed = frame.run
  if printed and (printed.line ~= line or printed.full or #printed.values >= RUN_MOST) then
    flush(frame)
    printed = nil
  end
  if not printed then
    printed = { line = line, letters = {}, values = {}, writer = name }
    frame.run = printed
  end
  printed.letters[#printed.letters + 1] = letters[name]
  printed.values[#printed.values + 1] = code
  printed.full = lex.count_lines(code) > 0
end

local function close_frame(self)
  local frame = self.frame
  flush(frame)
  self.frame = frame.up
  return frame.start .. table.concat(frame.pieces)
end

local function fail(self, line, ...) lex.fail(self.file, line, ...) end

-- ---- expressions -------------------------------------------------------------------------------

local function check_lua(self, line, code)
  local ok, message = load(("\n"):rep(line - 1) .. code, "@" .. self.file, "t", {})
  if not ok then error(message, 0) end
end

-- Lua code of an expression with filters, in as many lines as it had. With `skip` the last filter of
-- that name is left out, and the second result tells whether there was one.
local function expression(self, code, line, skip)
  local value, filters = lex.filters(code, self.file, line)
  if not value:find("%S") then fail(self, line, "an expression is missing") end
  check_lua(self, line, "return " .. value)
  for name in value:gmatch("%f[%w_]__[%w_]*") do
    fail(self, line, "'%s': names with two underscores are the compiler's", name)
  end
  for scope = #self.scopes, 1, -1 do
    if self.scopes[scope].numbered and value:find("%f[%w_]loop%f[^%w_]") then
      self.scopes[scope].loop_used = true
      break
    end
  end
  if value:find("%f[%w_]super%s*%(") then self.frame.super_used = true end
  local skipped = false
  if #filters > 0 and filters[#filters].name == skip and filters[#filters].arguments == "" then
    skipped = true
    filters[#filters] = nil
  end
  -- In parentheses, so that a call gives one value; a for takes all three of an iterator.
  local before = (skip == "for" and #filters == 0) and value or "(" .. value .. ")"
  for _, filter in ipairs(filters) do
    local known = self.filters[filter.name]
    if not known then fail(self, filter.line, "no filter is named '%s'", filter.name) end
    local newlines = ("\n"):rep(lex.count_lines(filter.text) - lex.count_lines(filter.arguments))
    local arguments = filter.arguments
    if arguments:find("%S") then
      check_lua(self, filter.line, "return _(" .. arguments .. ")")
      arguments = "," .. arguments
    end
    before = ("__f.%s(%s%s"):format(filter.name, known == "env" and "_ENV," or "", before)
    before = before .. newlines .. arguments .. ")"
  end
  return before, skipped
end

local function check_name(self, line, name)
  if not name:find("^[%a_][%w_]*$") or keywords[name] or name:find("^__") then
    fail(self, line, "'%s' is not a name", name)
  end
end

-- ---- HTML contexts -----------------------------------------------------------------------------

local function feed(self, line, text)
  -- Line by line, so that a message can name the line.
  local pos = 1
  while pos <= #text do
    local stop = text:find("\n", pos, true) or #text
    local ok, message = pcall(self.context.feed, self.context, text:sub(pos, stop))
    if not ok then fail(self, line, "%s", message) end
    pos, line = stop + 1, line + 1
  end
end

local function writer(self, line)
  local ok, name = pcall(self.context.writer, self.context)
  if not ok then fail(self, line, "%s", name) end
  return name
end

local function join(self, line, other, what)
  local here, there = self.context:describe(), other:describe()
  self.context = self.context:join(other)
    or fail(self, line, "%s end in different places of the HTML: %s and %s", what, there, here)
end

-- ---- tags --------------------------------------------------------------------------------------

local tags = {}

local function push(self, line, scope)
  if #self.scopes >= DEPTH then fail(self, line, "tags are nested deeper than %d", DEPTH) end
  scope.line = line
  self.scopes[#self.scopes + 1] = scope
  return scope
end

local function within(self, word)
  for i = #self.scopes, 1, -1 do
    if self.scopes[i].word == word then return self.scopes[i] end
  end
end

tags["if"] = function(self, line, rest)
  emit(self, line, "if " .. expression(self, rest, line) .. " then ")
  push(self, line, { word = "if", before = self.context:copy() })
end

tags["elseif"] = function(self, line, rest)
  local scope = self.scopes[#self.scopes]
  if not scope or scope.word ~= "if" or scope.last then fail(self, line, "elseif without if") end
  emit(self, line, "elseif " .. expression(self, rest, line) .. " then ")
  if scope.after then join(self, line, scope.after, "the ways of this if") end
  scope.after, self.context = self.context, scope.before:copy()
end

tags["else"] = function(self, line, rest)
  local scope = self.scopes[#self.scopes]
  if not scope or scope.last or (scope.word ~= "if" and scope.word ~= "for") then
    fail(self, line, "else without if or for")
  end
  if rest:find("^%s+if%f[^%w_]") then fail(self, line, "'else if' is written elseif") end
  if rest:find("%S") then fail(self, line, "nothing may follow else") end
  scope.last = true
  if scope.word == "if" then
    emit(self, line, "else ")
    if scope.after then join(self, line, scope.after, "the ways of this if") end
    scope.after, self.context = self.context, scope.before:copy()
  else
    if not scope.list then fail(self, line, "a counting for has no else") end
    join(self, line, scope.before:copy(), "the beginning and the end of this for")
    scope.numbered = nil
    self.context = scope.before:copy()
    emit(self, line, ("end if #%s==0 then "):format(scope.list))
  end
end

tags["for"] = function(self, line, rest)
  local scope = push(self, line, { word = "for", before = self.context:copy() })
  local name, range = rest:match("^%s*([%a_][%w_]*)%s*=(.*)$")
  if name then
    check_name(self, line, name)
    check_lua(self, line, "for _ =" .. range .. " do end")
    emit(self, line, ("for %s=%s do "):format(name, range))
    return
  end
  local first, second, list = rest:match("^%s*([%a_][%w_]*)%s*,%s*([%a_][%w_]*)%s+in%f[%W](.*)$")
  if not first then
    first, list = rest:match("^%s*([%a_][%w_]*)%s+in%f[%W](.*)$")
  end
  if not first then fail(self, line, "for wants: item in list, or key, value in list") end
  check_name(self, line, first)
  if second then check_name(self, line, second) end
  -- The list is evaluated outside of the loop's own names.
  self.scopes[#self.scopes] = nil
  local code = expression(self, list, line, "for")
  self.scopes[#self.scopes + 1] = scope
  self.serial = self.serial + 1
  local l, k, i = "__l" .. self.serial, "__k" .. self.serial, "__i" .. self.serial
  scope.list, scope.numbered = l, true
  emit(self, line, ("do local %s,%s=__g.sequence(%d,%s);for %s=1,#%s do "):format(
    l, k, second and 2 or 1, code, i, l))
  if second then
    emit(self, line, ("local %s,%s=%s and %s[%s] or %s,%s[%s];"):format(
      first, second, k, k, i, i, l, i))
  else
    emit(self, line, ("local %s=%s[%s];"):format(first, l, i))
  end
  scope.loop_piece = emit(self, line, "")
  scope.loop_code = ("local loop=__g.loop(%s,#%s);"):format(i, l)
end

tags.set = function(self, line, rest)
  local name, code = rest:match("^%s*([%a_][%w_]*)%s*=%f[^=](.*)$")
  if name then
    check_name(self, line, name)
    if self.frame.kind == "macro" then self.frame.locals[name] = true end
    emit(self, line, ("%s=%s;"):format(name, expression(self, code, line)))
    return
  end
  name = rest:match("^%s*([%a_][%w_]*)%s*$")
  if not name then fail(self, line, "set wants: name = expression") end
  check_name(self, line, name)
  if self.frame.kind == "macro" then self.frame.locals[name] = true end
  push(self, line, { word = "set", name = name, before = self.context })
  self.context = context.new(self.mode)
  emit(self, line, ("do local __o=__buffer();"))
end

tags.include = function(self, line, rest)
  local name, behind = lex.literal(rest)
  if not name then fail(self, line, 'include wants: "name", or "name" with { … }') end
  local with = behind:match("^%s+with%f[^%w_](.*)$")
  if not with and behind:find("%S") then
    fail(self, line, "include takes nothing but with { … }")
  end
  if self.context.mode ~= "plain" and self.context.state ~= "text" then
    fail(self, line, "an include stands in element content, not in %s", self.context:describe())
  end
  self.unit.references[#self.unit.references + 1] = { name = name, line = line }
  local code = with and expression(self, with, line) or "nil"
  emit(self, line, ("__R:include(__o,_ENV,%q,%s);"):format(name, code))
end

tags.import = function(self, line, rest)
  local name, behind = lex.literal(rest)
  local as = behind and behind:match("^%s+as%s+([%a_][%w_]*)%s*$")
  if not as then fail(self, line, 'import wants: "name" as name') end
  check_name(self, line, as)
  self.unit.references[#self.unit.references + 1] = { name = name, line = line }
  local code = ("local %s=__R:import(%q);"):format(as, name)
  if #self.scopes > 0 then
    emit(self, line, code)
  else
    -- At the top it is for the whole file: for its blocks and macros too.
    self.unit.imports[#self.unit.imports + 1] = code
  end
end

tags.extends = function(self, line, rest)
  local name, behind = lex.literal(rest)
  if not name or behind:find("%S") then fail(self, line, 'extends wants: "name"') end
  if self.unit.extends then fail(self, line, "extends stands once") end
  if #self.scopes > 0 or self.written or next(self.unit.blocks) then
    fail(self, line, "extends stands at the top")
  end
  self.unit.extends = name
  self.unit.references[#self.unit.references + 1] = { name = name, line = line }
  self.parent = self.parent_of(name, line)
  setmetatable(self.unit.places, { __index = self.parent.places })
end

tags.block = function(self, line, rest)
  local name = rest:match("^%s*([%a_][%w_]*)%s*$")
  if not name then fail(self, line, "block wants a name") end
  if self.unit.blocks[name] then fail(self, line, "the block '%s' stands twice", name) end
  if within(self, "for") then
    fail(self, line, "a block cannot stand in a for: use an include or a macro")
  end
  if self.frame.kind == "macro" then fail(self, line, "a block cannot stand in a macro") end
  local outer = self.context
  if self.parent and #self.scopes == 0 then
    -- A block of the parent is compiled for the place where the parent has it.
    local place = self.parent.places[name]
    self.context = place and place:copy() or context.new(self.mode)
  else
    emit(self, line, ("__R:block(%q,__o,_ENV);"):format(name))
  end
  self.unit.places[name] = self.context:copy()
  self.unit.blocks[name] = true
  push(self, line, { word = "block", name = name, outer = outer, before = self.context:copy() })
  open_frame(self, "block", "return function(__o,_ENV,__R,__n) ")
end

tags.macro = function(self, line, rest)
  local name, parameters = rest:match("^%s*([%a_][%w_]*)%s*%(%s*(.-)%s*%)%s*$")
  if not name then fail(self, line, "macro wants: name(parameter, …)") end
  if #self.scopes > 0 then fail(self, line, "a macro stands at the top of a file") end
  check_name(self, line, name)
  if self.unit.macros[name] then fail(self, line, "the macro '%s' stands twice", name) end
  if parameters ~= "" then
    for parameter in (parameters .. ","):gmatch("(.-),") do
      check_name(self, line, parameter:match("^%s*(.-)%s*$"))
    end
  end
  self.unit.macros[name] = true
  push(self, line, { word = "macro", name = name, before = self.context })
  self.context = context.new(self.mode)
  local frame = open_frame(self, "macro", "")
  frame.parameters = parameters
end

local ends = {}

ends["if"] = function(self, line, scope)
  if scope.after then join(self, line, scope.after, "the ways of this if") end
  if not scope.last then join(self, line, scope.before, "the ways of this if") end
  emit(self, line, "end ")
end

ends["for"] = function(self, line, scope)
  join(self, line, scope.before, "the beginning and the end of this for")
  if scope.loop_used then self.frame.pieces[scope.loop_piece] = scope.loop_code end
  emit(self, line, scope.list and "end end " or "end ")
end

ends.set = function(self, line, scope)
  join(self, line, context.new(self.mode), "the beginning and the end of this set")
  self.context = scope.before
  emit(self, line, scope.name .. "=__o;end ")
end

-- `super()` is the same block of the layout below, as markup.
local super = "local function super() return __R:super(%q,__n,_ENV) end;"

ends.block = function(self, line, scope)
  join(self, line, scope.before, "the beginning and the end of this block")
  local frame = self.frame
  emit(self, line, "end")
  if frame.super_used then frame.start = frame.start .. super:format(scope.name) end
  self.unit.blocks[scope.name] = close_frame(self)
  self.context = scope.outer
end

ends.macro = function(self, line, scope)
  join(self, line, context.new(self.mode), "the beginning and the end of this macro")
  local frame = self.frame
  emit(self, line, "return __o end end")
  local names = {}
  for name in pairs(frame.locals) do
    if not (", " .. frame.parameters .. ","):find("[, ]" .. name .. "%s*,") then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  frame.start = ("return function(_ENV,__R) @ return function(%s) local __o=__buffer();%s"):format(
    frame.parameters, #names > 0 and "local " .. table.concat(names, ",") .. ";" or "")
  self.unit.macros[scope.name] = close_frame(self)
  self.context = scope.before
end

tags["end"] = function(self, line, rest)
  local scope = table.remove(self.scopes)
  if not scope then fail(self, line, "end without a beginning") end
  if rest:find("%S") then fail(self, line, "nothing may follow end") end
  ends[scope.word](self, line, scope)
end

-- ---- the whole ---------------------------------------------------------------------------------

-- Text and values at the top of a template that extends another one would go nowhere.
local function refuse_lost(self, line)
  if self.parent and #self.scopes == 0 then
    fail(self, line, "this stands outside of every block, and the template extends another one")
  end
end

local function text(self, token)
  if self.parent and #self.scopes == 0 and not token.text:find("%S") then return end
  local before = token.text:match("^%s*")
  refuse_lost(self, token.line + lex.count_lines(before))
  if token.text:find("%S") then self.written = true end
  feed(self, token.line, token.text)
  -- The last line of it may go with the values that follow on that line.
  local whole, rest = token.text:match("^(.*\n)(.*)$")
  if whole then
    print_value(self, token.line, "raw", ("%q"):format(whole))
  else
    rest = token.text
  end
  if rest ~= "" then
    print_value(self, token.line + lex.count_lines(whole or ""), "raw", ("%q"):format(rest))
  end
end

local function value(self, token)
  refuse_lost(self, token.line)
  self.written = true
  local name = writer(self, token.line)
  -- In a place that encodes by itself, the filter that asks for the same is no second time.
  local skip = (name == "json" and "json") or (name == "query" and "url")
    or (name == "url_part" and "url")
  local code, skipped = expression(self, token.text, token.line, skip)
  if skipped and skip == "url" then name = "query" end
  print_value(self, token.line, name, code)
end

-- Turns a chunk's source into its function (or, for a macro, the maker of it).
local function build(self, source)
  -- Imports at the top and the file's own macros are locals of every chunk that names them.
  local prelude = {}
  for _, import in ipairs(self.unit.imports) do
    local name = import:match("^local ([%w_]+)=")
    if source:find("%f[%w_]" .. name .. "%f[^%w_]") then prelude[#prelude + 1] = import end
  end
  for name in pairs(self.unit.macros) do
    if source:find("%f[%w_]" .. name .. "%s*%(") then
      prelude[#prelude + 1] = ("local %s=__R:macro(%q,%q);"):format(name, self.unit.name, name)
    end
  end
  table.sort(prelude)
  local before = table.concat(prelude)
  local count
  source, count = source:gsub("^(return function%(_ENV,__R%)) @ ", function(head)
    return head .. " " .. before
  end)
  if count == 0 then
    source = source:gsub("^return function%b()", function(head)
      return head .. " " .. before
    end)
  end
  local chunk, message = load(header .. source, "@" .. self.file, "t", {})
  if not chunk then error(message, 0) end
  return chunk(self.writers, self.functions, self.runtime)
end

--- Compiles a template. options:
--   name, file (for messages), mode ("html" or "plain"), writers (runtime.template),
--   filters (name → true, or "env" where the filter wants the variables first),
--   functions (name → filter), runtime (sequence, loop),
--   parent_of(name, line) → the compiled unit that it extends.
-- Returns { name, file, extends, body, blocks, macros, places, references }. Raises "file:line: …".
function compile.template(source, options)
  local unit = {
    name = options.name, file = options.file, blocks = {}, macros = {}, imports = {}, places = {},
    references = {},
  }
  local self = {
    unit = unit, file = options.file, mode = options.mode, filters = options.filters,
    writers = options.writers, functions = options.functions, runtime = options.runtime,
    parent_of = options.parent_of, scopes = {}, serial = 0, context = context.new(options.mode),
  }
  open_frame(self, "body", "return function(__o,_ENV,__R) ")
  local last = 1
  for _, token in ipairs(lex.tokens(source, self.file)) do
    last = token.line
    if token.kind == "text" then
      text(self, token)
    elseif token.kind == "expression" then
      value(self, token)
    else
      local tag = tags[token.word]
      if not tag then fail(self, token.line, "there is no tag '%s'", token.word) end
      tag(self, token.line, token.text)
    end
  end
  local open = self.scopes[#self.scopes]
  if open then fail(self, open.line, "'%s' without end", open.word) end
  if self.context.state ~= "text" and self.mode ~= "plain" then
    fail(self, last, "the template ends inside of %s", self.context:describe())
  end
  emit(self, last, "end")
  unit.body = build(self, close_frame(self))
  for name, code in pairs(unit.blocks) do unit.blocks[name] = build(self, code) end
  for name, code in pairs(unit.macros) do unit.macros[name] = build(self, code) end
  return unit
end

return compile
