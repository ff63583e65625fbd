--- Follows the HTML of a template, so that each value is escaped for the place where it stands.
--
-- The tokenizer of the HTML standard, as far as templates need it. What it cannot decide safely — a
-- value as a tag or attribute name, outside of quotes, in style, in an event handler, in a script
-- that is not data — is an error of the template and never reaches a page.
local context = {}
context.__index = context

local url_attributes = {
  href = true, src = true, action = true, formaction = true, poster = true, data = true,
  cite = true, background = true, manifest = true, ping = true, ["xlink:href"] = true,
}
-- Elements whose content is text until their own end tag.
local raw_elements = {
  script = "script", style = "style", textarea = "text", title = "text", xmp = "refused",
  iframe = "refused", noembed = "refused", noframes = "refused", plaintext = "refused",
}
local data_types = {
  ["application/json"] = true, ["application/ld+json"] = true, importmap = true,
  speculationrules = true,
}

--- mode "html", or "plain" for mails in plain text.
function context.new(mode)
  return setmetatable({ mode = mode or "html", state = "text" }, context)
end

function context:copy()
  local made = setmetatable({}, context)
  for key, value in pairs(self) do made[key] = value end
  return made
end

local names = {
  text = "element content", tag = "a tag", attr_name = "an attribute name", after_name = "a tag",
  before_value = "an attribute without quotes", value = "a quoted attribute value",
  unquoted = "an attribute without quotes", comment = "a comment", bogus = "a declaration",
}

--- For messages: where we are.
function context:describe()
  if self.state == "raw" then return "<" .. self.element .. ">" end
  if self.state == "value" then return ("the attribute %s"):format(self.attribute) end
  return names[self.state]
end

--- The state after one of two ways was taken. Nil if they lead to different places.
function context:join(other)
  local inside = { tag = true, attr_name = true, after_name = true }
  if inside[self.state] and inside[other.state] then
    if self.state ~= other.state then self.state = "tag" end
    return self
  end
  if self.state ~= other.state or self.element ~= other.element then return nil end
  if self.state == "value" then
    if self.attribute ~= other.attribute or self.quote ~= other.quote then return nil end
    if self.part ~= other.part then
      -- An empty way leaves the value at its start, where a scheme must be checked.
      self.part = (self.part == "start" or other.part == "start") and "start" or "path"
    end
  elseif self.state == "raw" and self.in_string ~= other.in_string then
    return nil
  end
  return self
end

local step = {}

function step.text(self, text, pos)
  local found = text:find("<", pos, true)
  if not found then return #text + 1 end
  if text:find("^<!%-%-", found) then
    self.state = "comment"
    return found + 4
  end
  local slash, name, behind = text:match("^<(/?)(%a[^%s/>]*)()", found)
  if name then
    if behind > #text then self.cut = "the name of a tag" end
    self.state, self.closing, self.type = "tag", slash == "/", nil
    self.element = name:lower()
    return behind
  end
  if text:find("^<[!?]", found) then self.state = "bogus" end
  if found == #text then self.cut = "the name of a tag" end
  return found + 1
end

function step.tag(self, text, pos)
  local from = text:find("[^%s/]", pos)
  if not from then return #text + 1 end
  local char = text:sub(from, from)
  if char == ">" then
    local raw = not self.closing and raw_elements[self.element]
    self.state, self.in_string = raw and "raw" or "text", false
    if not raw then self.element = nil end
    return from + 1
  end
  if char:find("[=\"'<]") then error(("unexpected %s in a tag"):format(char), 0) end
  self.state, self.attribute = "attr_name", ""
  return from
end

function step.attr_name(self, text, pos)
  local name, behind = text:match("^([^%s/>=\"'<]*)()", pos)
  self.attribute = self.attribute .. name:lower()
  if behind > #text then return behind end
  self.state = "after_name"
  return behind
end

function step.after_name(self, text, pos)
  local from = text:find("%S", pos)
  if not from then return #text + 1 end
  if text:sub(from, from) == "=" then
    self.state = "before_value"
    return from + 1
  end
  self.state = "tag"
  return from
end

function step.before_value(self, text, pos)
  local from = text:find("%S", pos)
  if not from then return #text + 1 end
  local char = text:sub(from, from)
  if char == '"' or char == "'" then
    self.state, self.quote, self.part = "value", char, "start"
    if self.attribute == "type" then self.type = "" end
    return from + 1
  end
  self.state = char == ">" and "tag" or "unquoted"
  return from
end

function step.value(self, text, pos)
  local stop = text:find(self.quote, pos, true)
  local literal = text:sub(pos, (stop or #text + 1) - 1)
  if literal:find("%S") then
    if literal:find("[?#]") then
      self.part = "query"
    elseif self.part == "start" then
      self.part = "path"
    end
  end
  if self.attribute == "type" then self.type = (self.type or "") .. literal:lower() end
  if not stop then return #text + 1 end
  self.state = "tag"
  return stop + 1
end

function step.unquoted(self, text, pos)
  local stop = text:find("[%s>]", pos)
  if not stop then return #text + 1 end
  self.state = "tag"
  return stop
end

function step.comment(self, text, pos)
  local _, last = text:find("-->", pos, true)
  if not last then return #text + 1 end
  self.state = "text"
  return last + 1
end

function step.bogus(self, text, pos)
  local stop = text:find(">", pos, true)
  if not stop then return #text + 1 end
  self.state = "text"
  return stop + 1
end

-- Script content: is the end of this text inside of a JSON string?
local function follow_strings(self, text)
  local pos = 1
  while true do
    local found = text:find('["\\]', pos)
    if not found then return end
    if text:sub(found, found) == '"' then
      self.in_string = not self.in_string
      pos = found + 1
    else
      pos = found + (self.in_string and 2 or 1)
    end
  end
end

function step.raw(self, text, pos)
  local from = pos
  local lower = text:lower()
  while true do
    local found, last = lower:find("</" .. self.element, from, true)
    if not found then
      follow_strings(self, text:sub(pos))
      return #text + 1
    end
    if last == #text or text:find("^[%s/>]", last + 1) then
      self.state, self.closing = "tag", true
      return last + 1
    end
    from = last + 1
  end
end

--- Moves over literal text. Raises a message without a position.
function context:feed(text)
  if self.mode == "plain" then return end
  local pos = 1
  self.cut = nil
  while pos <= #text do pos = step[self.state](self, text, pos) end
end

local function attribute_writer(self)
  local name = self.attribute
  if name:find("^on") or name == "style" or name == "srcdoc" then
    error(("no value may stand in the attribute %s"):format(name), 0)
  end
  if not url_attributes[name] then return "attribute" end
  local part = self.part
  if part == "start" then
    self.part = "path"
    return "url"
  end
  return part == "query" and "query" or "url_part"
end

--- The writer (a function of runtime.template) for a value at this place. Raises where none may be.
function context:writer()
  if self.mode == "plain" then return "raw" end
  if self.cut then error(("a value may not stand in %s"):format(self.cut), 0) end
  local state = self.state
  if state == "text" or state == "comment" then return "html" end
  if state == "value" then return attribute_writer(self) end
  if state == "before_value" or state == "unquoted" then
    error(("put quotes around the value of %s"):format(self.attribute), 0)
  end
  if state == "raw" then
    local kind = raw_elements[self.element]
    if kind == "text" then return "attribute" end -- safe markup is no markup in there
    if kind == "script" and data_types[self.type or ""] then
      return self.in_string and "json_inside" or "json"
    end
    local hint = kind == "script" and ' (data goes into <script type="application/json">)' or ""
    error(("no value may stand in <%s>%s"):format(self.element, hint), 0)
  end
  error(("a value may not stand in %s"):format(self:describe()), 0)
end

return context
