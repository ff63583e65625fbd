-- footlight projections: what the services without MariaDB know, written anew from MariaDB.
local command = require "footlight.command"
local projections = require "jobs.projections"

return command.define {
  name = "projections",
  summary = "what Redis knows of accounts and models",
  commands = {
    { "rebuild", summary = "write all of it anew and remove what does not belong", run = function(_, out)
      local result = projections.rebuild()
      out:result(result, ("%d accounts and %d models written, %d strangers removed"):format(
        result.accounts, result.models, result.removed))
      return command.OK
    end },
  },
}
