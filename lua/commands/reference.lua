--- footlight reference: writes docs/reference.md from lua/types/, or tells whether it is up to date.
local command = require "footlight.command"
local config = require "runtime.config"
local reference = require "footlight.reference"
local template = require "runtime.template"

local PAGE = "docs/reference.md"

return command.define {
  name = "reference",
  summary = "write docs/reference.md from the types in lua/types/",
  options = { { "--check", "write nothing; fail if the page is not up to date" } },
  run = function(options, out)
    local text = reference.write(config.root .. "/lua/types")
    local path = config.root .. "/" .. PAGE
    local same = template.read(path) == text
    if options.check then
      out:result({ path = PAGE, current = same }, same and PAGE .. " is up to date" or nil)
      if not same then return out:fail(command.FAILED, PAGE .. " is not what lua/types/ says") end
      return command.OK
    end
    local file, reason = io.open(path, "w")
    if not file then return out:fail(command.FAILED, reason) end
    file:write(text)
    file:close()
    out:result({ path = PAGE, changed = not same }, same and PAGE .. " has not changed" or "wrote " .. PAGE)
    return command.OK
  end,
}
