-- For `tools/test`: quick, and no mail leaves.
return {
  payments = { providers = "sandbox, stripe, gateway" }, -- specs say where, and with which keys
  crypto = { argon2_operations = 1, argon2_memory = 8192 },
  -- A crowded machine charges a thread with what it did not compute: no test shall fail by that.
  lua = { stall_ms = 500, cpu_ms = 2000 },
  log = { level = "warn" },
}
