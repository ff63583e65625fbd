-- footlight help: the commands, one line each.
local file = require "runtime.file"

return {
  summary = "this list",
  run = function()
    local names = {}
    for _, entry in ipairs(file.list "lua/commands") do
      local name = (type(entry) == "table" and entry.name or entry):match "^(%l[%l_]*)%.lua$"
      if name then names[#names + 1] = name end
    end
    table.sort(names)
    print "Usage: footlight [--root FOLDER] [--site FILE] COMMAND [ARGUMENT …]\n"
    print(("  %-12s %s"):format("serve", "run the site, or the services named"))
    for _, name in ipairs(names) do
      local ok, command = pcall(require, "commands." .. name)
      print(("  %-12s %s"):format(name, ok and command.summary or "(does not load: " .. tostring(command) .. ")"))
    end
    print "\n'footlight COMMAND --help' tells what a command takes."
    return 0
  end,
}
