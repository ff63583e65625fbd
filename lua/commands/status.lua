-- footlight status: what each service process is doing, as the supervisor and they tell it.
local command = require "footlight.command"
local json = require "runtime.json"
local supervisor = require "runtime.supervisor"

local function describe(service)
  local report = service.report
  if type(report) ~= "table" then report = {} end
  local state = not service.running and "down"
    or report.draining and "draining"
    or report.generation and report.generation > 0 and "up"
    or "starting"
  return ("%-9s %d  %-16s pid %-7s %-9s generation %-5s connections %-5s restarts %d"):format(
    service.service, service.instance, service.address ~= "" and service.address or "-",
    service.pid > 0 and service.pid or "-", state, report.generation or "-", report.connections or "-",
    service.restarts), report.error
end

return command.define {
  name = "status",
  summary = "what each service of the running site is doing",
  run = function(options, out)
    local text, reason = supervisor.ask "status"
    if not text then
      return out:fail(4, "the site does not answer on its control socket (" .. reason .. "); is it running?")
    end
    local status = json.decode(text)
    local healthy = true
    local lines = { ("footlight %s, pid %d, up %d s"):format(status.version, status.pid, status.uptime_s) }
    for _, service in ipairs(status.services) do
      local line, problem = describe(service)
      lines[#lines + 1] = line
      if type(problem) == "string" then lines[#lines + 1] = "  last load failed: " .. problem:gsub("\n", "\n  ") end
      if not service.running or type(service.report) ~= "table" or type(problem) == "string" then healthy = false end
    end
    status.healthy = healthy
    out:result(status, table.concat(lines, "\n"))
    return healthy and 0 or 1
  end,
}
