-- The framework's part of lua/types/, and the page that is made of it.
local config = require "runtime.config"
local reference = require "footlight.reference"
local template = require "runtime.template"

local folder = config.root .. "/lua/types"

-- What is public without being described: parts that other modules of the framework ask for.
local internal = { ["footlight.request"] = { methods = true } }

local function described(module, prefix)
  local names = {}
  for _, item in ipairs(module.items) do
    local owner, name = item.name:match("^([%w_]+)[.:]([%w_]+)$")
    if owner == prefix and item.kind ~= "class" then names[name] = true end
  end
  return names
end

local function agree(what, said, real)
  for name in pairs(said) do
    assert.is_truthy(real[name] ~= nil, ("%s.%s is described and not there"):format(what, name))
  end
  for name in pairs(real) do
    assert.is_truthy(said[name], ("%s.%s is not described in lua/types/"):format(what, name))
  end
end

describe("the types of the framework", function()
  local modules = {}
  setup(function()
    for _, module in ipairs(reference.modules(folder)) do modules[module.name] = module end
  end)

  it("agree with what the modules have, both ways", function()
    local count = 0
    for name, module in pairs(modules) do
      if name:find("^footlight%.") then
        count = count + 1
        local real = {}
        for key, value in pairs(require(name)) do
          if not (internal[name] and internal[name][key]) then real[key] = value end
        end
        agree(name, described(module, name:match("[%w_]+$")), real)
      end
    end
    assert.is_true(count >= 12)
  end)

  it("agree with the methods of a request", function()
    agree("Request", described(modules["footlight.request"], "Request"),
      require("footlight.request").methods)
  end)
end)

describe("the reference", function()
  it("reads classes, functions and values of a module", function()
    local module = reference.parse(table.concat({
      "---@meta x.y", "--- About it.", "local y = {}", "", "---@class C", "---@field a string what",
      "local C = {}", "", "--- Does.", "---@param b? integer how many", "---@return string",
      "function y.go(b) end", "", "---@type integer a number", "y.most = 1", "", "return y",
    }, "\n"))
    assert.equal("x.y", module.name)
    assert.same({ "About it." }, module.text)
    assert.same({ "class", "function", "value" },
      { module.items[1].kind, module.items[2].kind, module.items[3].kind })
    assert.same({ "a string what" }, module.items[1].fields)
    assert.same({ "b? integer how many" }, module.items[2].params)
    assert.same({ "Does." }, module.items[2].text)
  end)

  it("is what lua/types/ says (run: footlight reference)", function()
    assert.is_true(template.read(config.root .. "/docs/reference.md") == reference.write(folder))
  end)
end)
