-- @TITLE@: say here what this rule is for. message: { text, room, from = { id, name, role } }.
-- nil is no opinion; else { verdict = "change", text = … }, or "hold" or "drop" with a reason that
-- the sender reads.
return function(message)
  if message.text == "@NAME@" then
    return { verdict = "drop", reason = "This is not said here." }
  end
end
