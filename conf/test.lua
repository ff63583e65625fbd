-- For `tools/test`: quick, and no mail leaves.
return {
  site = { checkout = "demo" },
  crypto = { argon2_operations = 1, argon2_memory = 8192 },
  log = { level = "warn" },
}
