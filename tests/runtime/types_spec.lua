-- lua/types/ is the manual of the C modules: what it describes and what C registers must agree.
local config = require "runtime.config"
local file = require "runtime.file"

-- Functions and fields that a definition file gives its module.
local function described(source)
  local module = source:match("return ([%w_]+)%s*$")
  local found = {}
  for name in source:gmatch("\nfunction " .. module .. "%.([%w_]+)%(") do found[name] = true end
  for name in source:gmatch("\n" .. module .. "%.([%w_]+) =") do found[name] = true end
  return found
end

describe("lua/types", function()
  local sources = {}
  setup(function()
    for _, name in ipairs(assert(file.list(config.root .. "/lua/types"))) do
      local text = name:find("%.lua$") and assert(file.read(config.root .. "/lua/types/" .. name)) or ""
      local module = text:match("^%-%-%-@meta (runtime%.[%w_]+)")
      if module then sources[module] = text end
    end
  end)

  it("agrees with what C registers, both ways", function()
    for module, source in pairs(sources) do
      local real, there = described(source), require(module)
      for name in pairs(real) do
        assert.is_truthy(there[name] ~= nil, ("%s.%s is described and not there"):format(module, name))
      end
      for name in pairs(there) do
        assert.is_truthy(real[name], ("%s.%s is not described in lua/types/"):format(module, tostring(name)))
      end
    end
  end)

  it("describes the modules that every service has", function()
    for _, name in ipairs { "task", "log", "json", "config", "metrics", "crypto", "process", "file", "cache",
      "text", "testing", "http", "request", "redis", "db", "template", "realtime", "billing", "streaming" } do
      assert.is_truthy(sources["runtime." .. name], name)
    end
  end)
end)
