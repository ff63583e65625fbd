--- footlight check: what can be found wrong without running the site.
local check = require "footlight.check"
local command = require "footlight.command"
local config = require "runtime.config"
local process = require "runtime.process"

-- luacheck, if it is there, as findings.
local function luacheck(found)
  local result = process.run {
    "luacheck", "--no-color", "--formatter", "plain", "lua", "tests", "conf",
    directory = config.root, limit = 120, output_most = 1 << 20,
  }
  if not result then return false end
  for line in (result.output or ""):gmatch("[^\n]+") do
    local path, number, text = line:match("^([^:]+):(%d+):%d*:? ?(.*)$")
    if path then found[#found + 1] = { path = path, line = tonumber(number), text = text, warning = false } end
  end
  return true
end

return command.define {
  name = "check",
  summary = "find mistakes in Lua, templates, messages and routes",
  options = {
    { "--strict", "what nobody uses counts as a mistake too" },
    { "--quick", "without luacheck" },
  },
  run = function(options, out)
    local loaded, site = pcall(require, "site")
    local found = check.site(config.root, loaded and site.app or nil)
    if not loaded then
      table.insert(found, 1, { path = "lua/site", line = 1, text = tostring(site), warning = false })
    end
    local linted = not options.quick and luacheck(found)
    local errors, warnings, lines = 0, 0, {}
    for _, item in ipairs(found) do
      if item.warning then warnings = warnings + 1 else errors = errors + 1 end
      lines[#lines + 1] = ("%s:%d: %s%s"):format(
        item.path, item.line, item.warning and "warning: " or "", item.text)
    end
    if not options.quick and not linted then
      lines[#lines + 1] = "luacheck is not installed (apt-get install lua-check): Lua was only compiled"
    end
    lines[#lines + 1] = ("%d mistakes, %d warnings"):format(errors, warnings)
    out:result({ findings = found, errors = errors, warnings = warnings }, table.concat(lines, "\n"))
    local bad = errors > 0 or (options.strict and warnings > 0)
    return bad and command.FAILED or command.OK
  end,
}
