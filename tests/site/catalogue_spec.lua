-- Every text that a page asks for exists, and every language says the same things.
local template = require "runtime.template"

-- All areas of the site in one, as footlight.i18n reads them.
local function messages(language)
  local all = {}
  for _, area in ipairs { "site", "site.payments", "site.payouts", "site.shows", "admin" } do
    for key, message in pairs(require(area .. ".locales." .. language)) do all[key] = message end
  end
  return all
end

local function placeholders(message)
  local set, text = {}, message
  if type(message) == "table" then
    text = ""
    for _, form in pairs(message) do text = text .. form end
  end
  for name in text:gmatch("{([%a_][%w_]*)}") do set[name] = true end
  return set
end

local function each_file(folder, ending, visit)
  local root = template.root() .. "/" .. folder
  for _, file in ipairs(template.files(root)) do
    if file:find("%." .. ending .. "$") then visit(folder .. "/" .. file, template.read(root .. "/" .. file)) end
  end
end

describe("the catalogue", function()
  local en, de = messages "en", messages "de"
  local framework = require "footlight.locales.en"

  it("has every key that templates name", function()
    each_file("templates", "html", function(file, text)
      if file:find("^templates/footlight/") then return end
      for key in text:gmatch('[^%w_]t%("([%w_.]+[%w_])"') do
        assert.is_truthy(en[key] or framework[key], file .. ": " .. key)
      end
    end)
  end)

  it("has every key that handlers name", function()
    for _, folder in ipairs { "lua/site", "lua/studio", "lua/admin" } do
      each_file(folder, "lua", function(file, text)
        for key in text:gmatch('[^%w_]t%("([%w_.]+[%w_])"[,%)]') do
          assert.is_truthy(en[key] or framework[key], file .. ": " .. key)
        end
      end)
    end
  end)

  it("says in German nothing that English does not know, with the same values", function()
    for key, message in pairs(de) do
      local original = en[key] or framework[key]
      assert.is_truthy(original, key)
      for name in pairs(placeholders(message)) do
        assert.is_true(placeholders(original)[name] or name == "count", key .. ": {" .. name .. "}")
      end
    end
  end)
end)
