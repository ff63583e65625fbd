-- For a developer's machine.
return {
  site = { checkout = "demo" }, -- credits without a payment provider
  log = { level = "info" },
}
