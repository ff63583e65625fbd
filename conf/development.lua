-- For a developer's machine.
return {
  log = { level = "info" },
}
