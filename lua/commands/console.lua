-- footlight console: Lua lines in a running service process, for the user that the site runs as.
local command = require "footlight.command"
local config = require "runtime.config"
local json = require "runtime.json"
local supervisor = require "runtime.supervisor"

local HELP = [[
A line is an expression or statements; what it gives is shown, and is `_` in the next line. It may wait: for
MariaDB, Redis, anything. Globals stay until you leave or the code is reloaded; locals end with their line.
At hand: store.<name>, the modules by their last names (task, redis, db, json, config, router …), require.
:help, :quit]]

-- Asks once; prints the outcome. → true, false (an error), or "incomplete"; nil and the reason when
-- the connection is lost.
local function ask(console, source, out, limit)
  local text, reason = console:ask(json.encode { source = source }, limit)
  if not text then return nil, reason end
  local answer = json.decode(text)
  if answer.incomplete then return "incomplete" end
  if out.json then
    out.stdout:write(text, "\n")
    return not answer.error
  end
  if answer.output and answer.output ~= "" then out.stdout:write(answer.output) end
  if answer.error then
    out.stderr:write(answer.error, "\n")
    return false
  end
  if answer.values and answer.values ~= "" then out.stdout:write(answer.values, "\n") end
  return true
end

local function lost(out, reason) return out:fail(command.UNAVAILABLE, "the console is lost: " .. reason) end

-- Reads lines to the end. A part that is the beginning of something waits for the next line.
local function converse(console, out, limit, input, prompt)
  local part, good = "", true
  local function show_prompt()
    if prompt then out.stdout:write(part == "" and prompt or (" "):rep(#prompt - 2) .. "| ") end
    if out.stdout.flush then out.stdout:flush() end
  end
  show_prompt()
  for line in input do
    if part == "" and line == ":quit" then break end
    if part == "" and line == ":help" then
      out.stdout:write(HELP, "\n")
    elseif part ~= "" or line:find("%S") then
      local source = part == "" and line or part .. "\n" .. line
      local outcome, reason = ask(console, source, out, limit)
      if outcome == nil then return lost(out, reason) end
      part = outcome == "incomplete" and source or ""
      if outcome == false then good = false end
    end
    show_prompt()
  end
  if prompt then
    out.stdout:write("\n")
    return command.OK
  end
  if part ~= "" then return out:fail(command.FAILED, "the input ends within a statement") end
  return good and command.OK or command.FAILED
end

-- A person types, or a file is read.
local function is_terminal()
  local descriptor <close> = io.popen("test -t 0 && echo yes")
  return descriptor:read("a"):find("yes") ~= nil
end

return command.define {
  name = "console",
  summary = "Lua lines in a running service",
  arguments = { "[SERVICE]" },
  options = {
    { "--instance N", "which of several processes (1)" },
    { "--eval CODE", "this line only" },
  },
  run = function(options, out, service)
    service = service or "web"
    local instance = math.tointeger(tonumber(options.instance or "1"))
    if not instance or not service:find("^%l+$") then
      return out:fail(command.USAGE, "a service's name and a number")
    end
    local console <close>, reason = supervisor.console(service, instance)
    if not console then
      return out:fail(command.UNAVAILABLE,
        ("%s %d has no console (%s); is it running?"):format(service, instance, reason))
    end
    local limit = config.get("console.deadline_ms", 10000) + 5000
    if options.eval then
      local outcome
      outcome, reason = ask(console, options.eval, out, limit)
      if outcome == nil then return lost(out, reason) end
      if outcome == "incomplete" then return out:fail(command.FAILED, "the code ends within a statement") end
      return outcome and command.OK or command.FAILED
    end
    local prompt = is_terminal() and ("%s %d> "):format(service, instance) or nil
    if prompt then out.stdout:write(":help tells what there is, :quit or Ctrl-D leaves\n") end
    return converse(console, out, limit, io.lines(), prompt)
  end,
}
