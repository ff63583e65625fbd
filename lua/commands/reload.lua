-- footlight reload: every service builds a new generation of the Lua code, templates and settings,
-- checks it, and swaps it in; what is wrong stays out, and is shown here.
local command = require "footlight.command"
local json = require "runtime.json"
local supervisor = require "runtime.supervisor"

return command.define {
  name = "reload",
  summary = "load changed Lua, templates and settings into the running services",
  run = function(options, out)
    local text, reason = supervisor.ask "reload"
    if not text then
      return out:fail(4, "the site does not answer on its control socket (" .. reason .. "); is it running?")
    end
    local status = json.decode(text)
    local failed, lines = 0, {}
    for _, service in ipairs(status.services) do
      local report = service.report
      local problem = type(report) == "table" and report.error
      if type(report) ~= "table" then
        failed = failed + 1
        lines[#lines + 1] = ("%s %d: not running"):format(service.service, service.instance)
      elseif type(problem) == "string" then
        failed = failed + 1
        lines[#lines + 1] = ("%s %d: kept generation %d: %s"):format(
          service.service, service.instance, report.generation, problem)
      else
        lines[#lines + 1] = ("%s %d: generation %d"):format(service.service, service.instance, report.generation)
      end
    end
    status.failed = failed
    out:result(status, table.concat(lines, "\n"))
    return failed == 0 and 0 or 1
  end,
}
