-- For `tools/test`: quick, and no mail leaves.
return {
  payments = { providers = "sandbox, stripe, gateway" }, -- specs say where, and with which keys
  crypto = { argon2_operations = 1, argon2_memory = 8192 },
  log = { level = "warn" },
}
